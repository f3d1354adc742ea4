"""The ear that the audio tests trust."""

import wave
from pathlib import Path

import pytest

from tests.interop.tone import RATE, is_whole, share, write_tone


def test_a_tone_is_found_at_its_frequency_and_nowhere_else(tmp_path: Path) -> None:
    tone = write_tone(tmp_path / "tone.wav", 440)
    assert share(tone, 440) > 0.99
    assert share(tone, 1000) < 0.01


def test_a_tone_that_slips_is_still_heard(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "tone.wav", 440, 2.0)
    with wave.open(str(path), "rb") as file:
        frames = file.readframes(2 * RATE)
    half_a_period = 2 * (RATE // 440 // 2)
    second = len(frames) // 2
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(frames[: second + second // 2] + frames[second + second // 2 + half_a_period :])
    assert share(path, 440) > 0.9


def test_silence_holds_no_tone(tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(bytes(2 * RATE))
    assert share(path, 440) == 0.0


def test_a_recording_without_samples_holds_no_tone(tmp_path: Path) -> None:
    assert share(write_tone(tmp_path / "empty.wav", 440, 0.0), 440) == 0.0


def test_a_recording_is_whole_once_it_has_its_header(tmp_path: Path) -> None:
    path = tmp_path / "begun.wav"
    assert not is_whole(path)
    path.write_bytes(b"RIFF" + bytes(4) + b"WAVE")
    assert not is_whole(path)
    assert is_whole(write_tone(path, 440))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
    with pytest.raises(ValueError, match="mono"):
        share(path, 440)
