"""Tones for the ear of a test: written to a file, and found again in a recording (Goertzel's algorithm)."""

import array
import math
import wave
from pathlib import Path

__all__ = ["RATE", "is_whole", "share", "write_tone"]

# Samples a second of every file here, as of G.711.
RATE = 8000
AMPLITUDE = 8000
# A mean square below this is silence: rounding and comfort noise, not speech.
SILENCE = 400.0
# Long enough to tell tones 20 Hz apart.
PIECES_A_SECOND = 20


def write_tone(path: Path, hertz: int, seconds: float = 1.0) -> Path:
    """Write a pure tone as 16 bit mono, whole periods so that it can be played in a loop without a click."""
    count = int(RATE * seconds)
    samples = array.array("h", (round(AMPLITUDE * math.sin(2 * math.pi * hertz * n / RATE)) for n in range(count)))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return path


def is_whole(path: Path) -> bool:
    """Whether a recording is closed: only then its header says how long it is."""
    return path.exists() and any(path.read_bytes()[4:8])


def share(path: Path, hertz: int) -> float:
    """The part of a recording's energy that lies at a frequency: near 1 for the tone alone, 0.0 for silence.

    Its second half counts: a call begins with a moment of silence. It is heard piece by piece: where a telephone's
    sound card has slipped, the phase jumps, and over the whole the tone would cancel itself out. ValueError when it is
    no 16 bit mono file.
    """
    samples, rate = _read(path)
    samples = samples[len(samples) // 2 :]
    energy = sum(sample * sample for sample in samples)
    if not samples or energy / len(samples) < SILENCE:
        return 0.0
    size = rate // PIECES_A_SECOND
    pieces = (samples[start : start + size] for start in range(0, len(samples), size))
    return sum(_power(piece, hertz, rate) for piece in pieces) / energy


def _read(path: Path) -> tuple[list[int], int]:
    with wave.open(str(path), "rb") as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            raise ValueError(f"{path}: not 16 bit mono")
        samples = array.array("h", file.readframes(file.getnframes()))
        return list(samples), file.getframerate()


def _power(samples: list[int], hertz: int, rate: int) -> float:
    """Energy of the sine of this frequency that fits the samples best."""
    turn = 2 * math.cos(2 * math.pi * hertz / rate)
    last = before = 0.0
    for sample in samples:
        last, before = sample + turn * last - before, last
    return (last * last + before * before - turn * last * before) * 2 / len(samples)
