"""What every script needs: its command line, device, seed and threads, and errors that say what to change."""

import argparse
import contextlib
import ctypes
import gc
import inspect
import os
import platform
import random
import re
import shutil
import signal
import sys
import textwrap
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

SETTING = re.compile(r"[a-z]\w*(\.\w+)+=")  # a key of the config below a section, and its value
RESEND_S = 0.02  # after which a signal comes again whose exception was lost
if TYPE_CHECKING:  # scripts that need no torch start in a fifth of the time without it
    import torch


def script_parser(doc: str | None) -> argparse.ArgumentParser:
    """The command line of a script, whose ``--help`` says what the script's docstring says.

    Blocks of the docstring that are indented or begin with ``python`` become the examples, below the options; its
    other paragraphs become the description, above them.
    """
    width = min(shutil.get_terminal_size().columns, 100) - 2
    blocks = inspect.cleandoc(doc or "").split("\n\n")
    examples = [block for block in blocks if block.startswith((" ", "python "))]
    prose = [textwrap.fill(" ".join(block.split()), width) for block in blocks if block not in examples]
    examples = [textwrap.indent(textwrap.dedent(block), "    ") for block in examples]
    return argparse.ArgumentParser(
        description="\n\n".join(prose),
        epilog="examples:\n" + "\n\n".join(examples) if examples else None,
        formatter_class=_Help,
    )


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help whose usage is one short line: what must be given. The other options stand below it anyway."""

    def _format_usage(self, usage: Any, actions: Any, groups: Any, prefix: Any) -> str:
        if usage is not None:  # parse_intermixed_args asks for the usage and then gives it back
            return super()._format_usage(usage, actions, groups, prefix)
        actions, groups = list(actions), [group for group in groups if group.required]
        choices = {id(action) for group in groups for action in group._group_actions}
        needed = [a for a in actions if a.required or not a.option_strings or id(a) in choices]
        text: str = super()._format_usage(None, needed, groups, prefix)
        has_more = len(actions) > len(needed) + 1  # besides --help
        return text.replace(self._prog, f"{self._prog} [-h]{' [options]' * has_more}", 1)


def parse_with_overrides(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, example: str
) -> argparse.Namespace:
    """The arguments of a script that also takes settings of the config, ``key=value``, anywhere among them.

    The settings become ``overrides``, a list of texts; the help names ``example``. ``parser`` is changed in place.
    """
    text = f"config settings, such as {example}; lib/config.py lists all keys"
    parser.add_argument("overrides", nargs="*", default=[], metavar="key=value", help=text)
    given = sys.argv[1:] if argv is None else argv
    # Taken out first: options of several values would take those that stand behind them.
    settings = [text for text in given if SETTING.match(text)]
    args = parser.parse_intermixed_args([text for text in given if not SETTING.match(text)])
    args.overrides = [*args.overrides, *settings]
    return args


def choose_device(name: str) -> "torch.device":
    """``auto`` is the first CUDA device if there is one, else the CPU. A device that is not here is a ValueError."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(f"run.device must be auto, cpu, cuda or cuda:N; got {name!r}")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise ValueError(
            f"run.device (--device) must be a device that torch can use; got {name!r}, but torch {torch.__version__} "
            f"finds {torch.cuda.device_count()} CUDA devices: choose cpu or auto, or install torch with CUDA support"
        )
    return device


def device_name(device: "torch.device") -> str:
    """What a device is: the name of the GPU, or ``cpu: `` and that of the processor."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", info.read_text()) if info.is_file() else []
    return f"cpu: {(names or [platform.processor() or platform.machine()])[0]}"


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and torch. Data augmentation uses none of them, but its own generators."""
    import torch

    if not 0 <= seed < 2**32:
        raise ValueError(f"a seed, such as run.seed, must be 0 to 2**32 - 1; got {seed}")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - third parties may draw from it
    torch.manual_seed(seed)


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Ends a script with one clear line, and status 2, where the user can correct what is wrong.

    Such an error was raised by a check of this project, or by the operating system. One that comes from inside a
    library is a defect of this project, and keeps its traceback. SIGTERM ends a script as Ctrl-C does, so that what it
    is writing is left whole. An error of the operating system in a thread, such as a full disk, is one line too.
    """
    hook_before, threading.excepthook = threading.excepthook, _say_of_thread
    try:
        with StopSignals():
            yield
    except (ValueError, TypeError, FloatingPointError, OSError) as error:
        innermost = Path(traceback.extract_tb(error.__traceback__)[-1].filename).resolve()
        is_ours = innermost.is_relative_to(Path(__file__).resolve().parents[1])
        if not isinstance(error, OSError) and not is_ours:
            raise
        rank = os.environ.get("RANK")
        print(f"error{f' of process {rank}' if rank else ''}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        print(str(stop) or "stopped by the user", file=sys.stderr)
        sys.exit(128 + getattr(stop, "number", signal.SIGINT))
    finally:
        threading.excepthook = hook_before


def _say_of_thread(args: threading.ExceptHookArgs) -> None:
    """What ``threading.excepthook`` does inside of ``readable_errors``."""
    if isinstance(args.exc_value, OSError):
        print(f"error in the background: {' '.join(str(args.exc_value).split())}", file=sys.stderr)
    else:
        threading.__excepthook__(args)


@contextlib.contextmanager
def paused_gc() -> Iterator[None]:
    """Keeps the garbage collector from looking again and again through many small objects that stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def set_threads(count: int) -> None:
    """Sets torch's threads; with 0 torch chooses."""
    if count < 0:
        raise ValueError(f"run.threads must be 0 (torch chooses) or more; got {count}")
    if count:
        import torch

        torch.set_num_threads(count)


def prepare_torch(seed: int, threads: int, tf32: bool) -> None:
    """Seeds every generator, sets torch's threads, and whether GPUs may round factors to TensorFloat-32."""
    import torch

    seed_everything(seed)
    set_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32


def fast_precision(device: "torch.device") -> "torch.dtype":
    """bfloat16 if the device has instructions for it, else float32: emulated, it takes up to ten times as long."""
    import torch

    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        has_bf16 = any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16"))
    return torch.bfloat16 if has_bf16 else torch.float32


def keep_memory() -> bool:
    """Has the C library keep freed memory for the next request; False where it is not glibc and has no such setting.

    By default glibc maps each large block anew and unmaps it when it is freed, so on a CPU each map of a network costs
    page faults and zeroed pages: about a quarter of a training step, and of an image in inference. What the environment
    variables MALLOC_MMAP_MAX_=0 and MALLOC_TRIM_THRESHOLD_ do is done here for this process and those that it starts by
    fork. To be called before the first large allocation.
    """
    if sys.platform != "linux":
        return False
    trim_threshold, mmap_max = -1, -4  # of glibc's malloc.h
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(mmap_max, 0) and mallopt(trim_threshold, 2**31 - 1))


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
