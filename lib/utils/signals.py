"""Signals that ask a program to end, as exceptions that come when nothing is half done."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

RESEND_S = 0.02  # after which a signal comes again whose exception was lost


class Stopped(KeyboardInterrupt):
    """A signal asked the program to end; the message says what has been saved."""

    def __init__(self, number: int, message: str = "stopped by a signal"):
        super().__init__(message)
        self.number = number


class StopSignals:
    """Turns SIGTERM and SIGINT into ``Stopped``: at once or, while ``deferred``, when the program asks for them.

    A second signal stops the program at once. Where Python throws an exception away, in a ``__del__`` or in a hook of
    fork, the signal comes again; a ``SystemError`` that it became inside of a library is a ``Stopped`` again. Outside
    the main thread, which alone gets signals, this does nothing.
    """

    def __init__(self) -> None:
        self.requested = 0  # number of the signal that came while deferred; 0: none
        self._is_deferred = False
        self._again: tuple[int, threading.Timer] | None = None  # a lost signal, and what will send it

    def __enter__(self) -> "StopSignals":
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._receive)
        self._hook_before, sys.unraisablehook = sys.unraisablehook, self._catch_lost
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        sys.unraisablehook = self._hook_before
        lost = 0
        if self._again is not None:
            lost, timer = self._again
            timer.cancel()
            with self.deferred():  # the timer may be sending just now: its signal must not meet the handlers of before
                timer.join()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if lost and error is None:
            raise Stopped(lost)
        while isinstance(error, SystemError):  # a library in C went on with the exception and tripped over it
            error = error.__cause__ or error.__context__
            if isinstance(error, Stopped):
                raise error

    def _receive(self, number: int, _: object) -> None:
        self._again = None
        if not self._is_deferred or self.requested:
            raise Stopped(number)
        self.requested = number

    def _catch_lost(self, lost: Any) -> None:
        """Sends a signal again whose exception Python throws away, a moment later: now it would be thrown away too."""
        if not isinstance(lost.exc_value, Stopped):
            self._hook_before(lost)
            return
        number = lost.exc_value.number
        timer = threading.Timer(RESEND_S, signal.pthread_kill, (threading.main_thread().ident, number))
        timer.daemon = True
        self._again = number, timer
        timer.start()

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside of it, a signal only sets ``requested``."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False
