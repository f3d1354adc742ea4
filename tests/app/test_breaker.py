"""When a failing server is left alone, and how often what failed is tried again."""

from b2bua.app.breaker import Breaker, RetryBudget, State


def test_failures_in_a_row_open_it_and_one_question_closes_it() -> None:
    breaker = Breaker(3, 5.0)
    for _ in range(2):
        assert breaker.admits(0.0)
        assert not breaker.failed(0.0)
    assert not breaker.succeeded()  # the row is broken
    for number in range(3):
        assert breaker.admits(1.0)
        assert breaker.failed(1.0) == (number == 2)
    assert breaker.state is State.OPEN
    assert not breaker.admits(5.9)
    assert breaker.admits(6.0)
    assert breaker.state is State.HALF_OPEN
    assert not breaker.admits(6.0)  # one is enough to find out
    assert breaker.succeeded()
    assert breaker.state is State.CLOSED
    assert breaker.admits(6.1)


def test_a_question_that_fails_while_it_is_half_open_opens_it_again() -> None:
    breaker = Breaker(1, 5.0)
    assert breaker.admits(0.0)
    assert breaker.failed(0.0)
    assert breaker.admits(5.0)
    assert breaker.failed(7.0)
    assert not breaker.admits(11.9)
    assert breaker.admits(12.0)


def test_what_old_questions_come_to_moves_an_open_breaker_in_no_direction() -> None:
    breaker = Breaker(1, 5.0)
    assert breaker.failed(0.0)
    assert not breaker.failed(4.0)
    assert not breaker.succeeded()
    assert breaker.state is State.OPEN
    assert breaker.admits(5.0)  # not five seconds from the last failure


def test_further_tries_are_a_share_of_the_first_ones() -> None:
    budget = RetryBudget(10)
    saved = sum(budget.take() for _ in range(100))
    assert saved == 5
    taken = 0
    for _ in range(1000):
        budget.earn()
        taken += budget.take()
    assert taken in (99, 100)


def test_what_is_saved_up_is_bounded() -> None:
    budget = RetryBudget(100)
    for _ in range(1000):
        budget.earn()
    assert sum(budget.take() for _ in range(100)) == 5


def test_without_a_share_nothing_is_tried_again() -> None:
    budget = RetryBudget(0)
    for _ in range(1000):
        budget.earn()
    assert not budget.take()
