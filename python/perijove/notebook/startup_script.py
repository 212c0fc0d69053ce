"""Runs the script of a notebook's launch in a Python kernel, and shows what came of it.

A kernel runs this before anybody listens, and what is printed then is lost. So the script's output,
or its traceback, is kept and shown before the output of the first cell. A module that this
environment lacks is one line there: the script may have been written for another one.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

MISSING = "__perijove_missing__"


def start(namespace: dict[str, Any]) -> None:
    """Runs the user's own PYTHONSTARTUP and, in a kernel, the script of the launch."""
    find_in_unlisted_folders()
    problem = chain(os.environ.get("PERIJOVE_PYTHONSTARTUP"), namespace)
    shell = kernel_shell()
    if shell is None:
        sys.stderr.write(problem)
        return
    note, noted = memory_note()
    offer_package()
    known = set(shell.user_ns)
    captured, said = run_file(os.environ.get("PERIJOVE_STARTUP"), shell.user_ns)
    fresh = set(shell.user_ns) - known
    show_before_first_cell(shell, captured, note + problem + said, fresh, noted)


class Whatever(set[str]):
    """Names of a folder that does not tell them: each may be there."""

    def __contains__(self, name: object) -> bool:
        return True


def find_in_unlisted_folders() -> None:
    """Modules are imported from folders that may not be listed, too.

    Where users' folders lie within the site's, a sandbox lets what is shared beside them be read,
    and none of those folders be listed. Python takes a folder that it cannot list for an empty one.
    """
    finder: Any = importlib.machinery.FileFinder
    fill = getattr(finder, "_fill_cache", None)
    if fill is None or getattr(fill, "asks_for_each", False):
        return

    def fill_or_ask(self: Any) -> None:
        fill(self)
        if not self._path_cache:
            try:
                os.listdir(self.path or ".")
            except PermissionError:
                self._path_cache = self._relaxed_path_cache = Whatever()
            except OSError:
                pass

    fill_or_ask.asks_for_each = True  # type: ignore[attr-defined]
    finder._fill_cache = fill_or_ask


def chain(path: str | None, namespace: dict[str, Any]) -> str:
    """Runs the file that would have been named without us; says what went wrong."""
    if not path:
        return ""
    try:
        with open(path, "rb") as file:
            code = compile(file.read(), path, "exec")
        exec(code, namespace)
    except Exception:
        return traceback.format_exc()
    return ""


def memory_note() -> tuple[str, Callable[[], None]]:
    """What is to be said of a kernel before this one that ran out of memory, and what is to be
    called once it was."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "memory.py")
    spec = importlib.util.spec_from_file_location("_perijove_memory", path)
    if spec is None or spec.loader is None:
        return "", lambda: None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    said: tuple[str, Callable[[], None]] = module.begin()
    return said


def kernel_shell() -> Any:
    """The shell of the kernel that this process is, or None when it is something else."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    shell = get_ipython()
    return shell if getattr(shell, "kernel", None) is not None else None


def offer_package() -> None:
    """Lets the site's modules import `perijove` here as in its workers: ours, by file location."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    spec = importlib.util.spec_from_file_location(
        "perijove", os.path.join(package, "__init__.py"), submodule_search_locations=[package]
    )
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except OSError:
        return  # an account that may not read it does without
    sys.modules["perijove"] = module


def run_file(path: str | None, namespace: dict[str, Any]) -> tuple[Any, str]:
    if not path:
        return None, ""
    try:
        with open(path, "rb") as file:
            source = file.read()
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"startup: the script could not be read: {error}\n"
    return run(source, path, namespace) if source.strip() else (None, "")


def run(source: bytes, path: str, namespace: dict[str, Any]) -> tuple[Any, str]:
    """Runs the script; what it printed, and what is to be said about it."""
    from IPython.utils.capture import capture_output

    missing: list[tuple[int, Any]] = []
    problem = ""
    namespace[MISSING] = lambda line: missing.append((line, sys.exc_info()[1]))
    namespace["__file__"] = path
    try:
        with capture_output() as captured:
            try:
                exec(compile_script(source, path), namespace)
            # An exit is the script's end, not the kernel's.
            except BaseException as error:
                problem = describe(error, path, bool(missing))
    finally:
        namespace.pop(MISSING, None)
    return captured, describe_missing(missing) + problem


def compile_script(source: bytes, path: str) -> Any:
    """Compiles the script so that an import that finds nothing does not end it."""
    tree = ast.parse(source, path)
    tree.body = [guard_import(node) for node in tree.body]
    return compile(ast.fix_missing_locations(tree), path, "exec")


def guard_import(node: ast.stmt) -> ast.stmt:
    is_import = isinstance(node, (ast.Import, ast.ImportFrom))
    if not is_import or getattr(node, "module", None) == "__future__":
        return node
    call = ast.Call(
        func=ast.Name(id=MISSING, ctx=ast.Load()),
        args=[ast.Constant(value=node.lineno)],
        keywords=[],
    )
    handler = ast.ExceptHandler(
        type=ast.Name(id="ModuleNotFoundError", ctx=ast.Load()),
        name=None,
        body=[ast.Expr(value=call)],
    )
    guarded = ast.Try(body=[node], handlers=[handler], orelse=[], finalbody=[])
    return ast.copy_location(guarded, node)


def describe_missing(missing: list[tuple[int, Any]]) -> str:
    if not missing:
        return ""
    named = ", ".join(f"{error.name or error} (line {line})" for line, error in missing)
    return f"startup: not installed for {sys.executable}: {named}\n"


def describe(error: BaseException, path: str, is_missing: bool) -> str:
    """The traceback from the script on; one line for what only follows from a missing module."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != path:
        frames = frames.tb_next
    lines = traceback.format_exception_only(type(error), error)
    if isinstance(error, ModuleNotFoundError) or (is_missing and isinstance(error, NameError)):
        place = f"line {frames.tb_lineno}" if frames is not None else "its beginning"
        return f"startup: ended at {place}: {lines[-1]}"
    text = "".join(traceback.format_exception(type(error), error, frames))
    return f"startup: the script ended with an error\n{text}"


def show_before_first_cell(
    shell: Any, captured: Any, problem: str, names: set[str], shown: Callable[[], None]
) -> None:
    def show(*_: Any) -> None:
        shell.events.unregister("pre_run_cell", show)
        # IPython hides what is there before the first cell from `%who`; this is to be seen.
        for name in names:
            shell.user_ns_hidden.pop(name, None)
        if captured is not None:
            captured.show()
        if problem:
            sys.stderr.write(problem)
        sys.stdout.flush()
        sys.stderr.flush()
        shown()

    shell.events.register("pre_run_cell", show)
