"""Kernels forked instead of executed: by a zygote of this notebook's own.

It is forked from the server before that has read anything but who it is, and knows none of its
secrets: it stands inside the user's account, limits and sandbox. Whatever cannot be forked as it
would be executed is executed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import select
import signal
import site
import socket
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner
from traitlets.config import SingletonConfigurable

NAME = "perijove-provisioner"
# Looked for by the zygote, since it takes long: it is rebuilt when packages change.
PROVISIONERS = list(entry_points(group=KernelProvisionerFactory.GROUP_NAME))
# How long a fork may take; then the kernel is executed.
PATIENCE = 5.0
# What a kernel says once its sockets are there.
PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
LONGEST = 1024
# Variables that mean something to an interpreter, or to the C library, when it starts.
AT_START = ("PYTHON", "LD_", "MALLOC_", "GLIBC_", "LC_", "LANG", "OPENSSL_")
CHANGED_BY_US = {"PYTHONSTARTUP"}


class Kernel:
    """A kernel to be, in its own process."""

    def __init__(self, told: dict[str, Any], channel: socket.socket, paths: list[str]) -> None:
        self.told = told
        self.channel = channel
        self.paths = paths

    def run(self) -> None:
        fresh = sys.modules["_perijove_notebook_fresh"]
        environment = {**self.told["environment"], "JPY_PARENT_PID": str(os.getppid())}
        command = self.told["command"]
        module = command.index("ipykernel_launcher")
        fresh.begin_anew(environment, self.told["folder"], command)
        from importlib.util import find_spec

        spec = find_spec("ipykernel_launcher")
        sys.argv = [str(spec.origin) if spec else "ipykernel_launcher", *command[module + 1 :]]
        sys.path[:] = self.paths
        from ipykernel import kernelapp

        take_ports(kernelapp.IPKernelApp)
        tell_when_bound(kernelapp.IPKernelApp, self.channel)
        kernelapp.launch_new_instance(parent_handle=os.getppid())


def tell_when_bound(kind: Any, channel: socket.socket) -> None:
    """The server connects to sockets that are there. To one that is not, ZeroMQ tries again after a
    tenth of a second, to each at its own time; and when the server hears a kernel's state later
    than its answers, it asks it once more after half a second."""
    write = kind.write_connection_file

    def write_connection_file(self: Any, **more: Any) -> None:
        kind.write_connection_file = write
        # Closed also when that fails.
        with channel, contextlib.suppress(BrokenPipeError):
            write(self, **more)
            channel.sendall(json.dumps({name: getattr(self, name) for name in PORTS}).encode())

    kind.write_connection_file = write_connection_file


def take_ports(kind: Any) -> None:
    """Takes another port where the one is taken that this kernel was to have: the server found it
    free, and whoever starts at the same time finds it free, too."""
    from zmq import ZMQError

    bind = kind._try_bind_socket

    def _try_bind_socket(self: Any, own: Any, port: int) -> Any:
        try:
            return bind(self, own, port)
        except ZMQError as error:
            if error.errno != errno.EADDRINUSE or self.transport != "tcp":
                raise
        return bind(self, own, 0)

    kind._try_bind_socket = _try_bind_socket


def begin(facts: dict[str, Any]) -> Kernel | Forker:
    """Forks the kernels' zygote. It returns in the server, and in each kernel to be."""
    ours, theirs = socket.socketpair()
    if os.fork() != 0:
        theirs.close()
        return Forker(ours, facts)
    ours.close()
    for number in range(3, theirs.fileno()):
        with contextlib.suppress(OSError):
            os.close(number)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    # An interrupt is for kernels, the end of the server is what ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return Kernel(*serve(theirs), facts["paths"])


def serve(control: socket.socket) -> tuple[dict[str, Any], socket.socket]:
    """Forks for each descriptor that comes, and returns in the fork, with what is said on it."""
    while True:
        word, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not word or not descriptors:
            os._exit(0)
        middle = os.fork()
        if middle == 0:
            # The guardian, which adopts orphans, becomes the kernel's parent: it is there as long
            # as any kernel is, which is not said of this process.
            middle = os.getpid()
            if os.fork() != 0:
                os._exit(0)
            control.close()
            return begin_kernel(descriptors[0], middle)
        os.close(descriptors[0])
        os.waitpid(middle, 0)


def begin_kernel(descriptor: int, middle: int) -> tuple[dict[str, Any], socket.socket]:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    while os.getppid() == middle:
        os.sched_yield()
    channel = socket.socket(fileno=descriptor)
    channel.set_inheritable(False)
    with channel.makefile("rb") as said:
        told: dict[str, Any] = json.loads(said.readline())
    own = os.pidfd_open(os.getpid())
    socket.send_fds(channel, [str(os.getpid()).encode()], [own])
    os.close(own)
    # As for a kernel that is executed: a pipe at its end.
    reading, writing = os.pipe()
    os.dup2(reading, 0)
    os.close(reading)
    os.close(writing)
    return told, channel


class Forked:
    """A kernel's process, to the provisioner what `subprocess.Popen` is."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        # Where it listens, when it has said so.
        self.ports: dict[str, int] = {}
        self._descriptor = descriptor

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._descriptor], [], [], 0)[0]:
            # How it ended is known to the guardian only.
            self.returncode = -1
            os.close(self._descriptor)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            select.select([self._descriptor], [], [], timeout)
        return self.poll() or 0

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forker:
    """The server's side: asks for kernels."""

    def __init__(self, control: socket.socket, facts: dict[str, Any]) -> None:
        self.control = control
        self.facts = facts
        self.environment = dict(os.environ)
        self.state = stamps(facts["paths"])

    def why_not(self, command: list[str], more: dict[str, Any]) -> str | None:
        """Why this kernel is not forked."""
        if [word for word in command[:4] if not word.startswith("-X")][:3] != [
            sys.executable,
            "-m",
            "ipykernel_launcher",
        ]:
            return "it is not a kernel of this Python"
        if not set(more) <= {"env", "cwd"}:
            return "it is started in a special way"
        environment = more.get("env") or {}
        for name in {*environment, *self.environment}:
            decides = name in self.facts["read"] or name.startswith(AT_START)
            if decides and environment.get(name) != self.environment.get(name):
                return f"{name} is another one"
        own = self.facts["user-site"]
        if own and os.path.isdir(site.getusersitepackages()) and own not in sys.path:
            return "there are packages of the user's own"
        if stamps(self.facts["paths"]) != self.state:
            return "packages have changed"
        return None

    async def fork(self, command: list[str], folder: str, environment: dict[str, str]) -> Forked:
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)
            with theirs:
                socket.send_fds(self.control, [b"k"], [theirs.fileno()])
            told = {"command": command, "folder": folder, "environment": environment}
            loop = asyncio.get_running_loop()

            async def talk() -> Forked:
                await loop.sock_sendall(ours, json.dumps(told).encode() + b"\n")
                return await receive(loop, ours)

            forked = await asyncio.wait_for(talk(), PATIENCE)
            # It is there now, whether it says more or not.
            with contextlib.suppress(OSError, asyncio.TimeoutError, ValueError):
                said = await asyncio.wait_for(loop.sock_recv(ours, LONGEST), PATIENCE)
                forked.ports = json.loads(said)
            return forked


async def receive(loop: asyncio.AbstractEventLoop, channel: socket.socket) -> Forked:
    readable = asyncio.Event()
    loop.add_reader(channel, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(channel)
    pid, descriptors, _, _ = socket.recv_fds(channel, 32, 1)
    if not descriptors:
        raise ConnectionError("the zygote of kernels is gone")
    return Forked(int(pid), descriptors[0])


def stamps(paths: list[str]) -> list[int]:
    """Changes when a package is installed or removed."""
    found = []
    for path in paths:
        with contextlib.suppress(OSError):
            found.append(os.stat(path).st_mtime_ns)
    return found


class ForkingProvisioner(LocalProvisioner):
    """Starts kernels of this Python by fork, and all others as they ever were."""

    forker: Forker

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        forker = ForkingProvisioner.forker
        more = LocalProvisioner._scrub_kwargs(kwargs)
        reason = forker.why_not(cmd, more)
        if reason is None:
            try:
                folder = os.path.abspath(more.get("cwd") or os.getcwd())
                forked = await forker.fork(cmd, folder, more["env"])
            except (OSError, asyncio.TimeoutError) as error:
                reason = str(error) or type(error).__name__
            else:
                self.process = forked
                self.pid = self.pgid = forked.pid
                for name, port in forked.ports.items():
                    setattr(self.parent, name, port)
                self.connection_info = self.parent.get_connection_info()
                return self.connection_info
        self.log.info("Kernel %s is started cold: %s", self.kernel_id, reason)
        return await super().launch_kernel(cmd, **kwargs)


class Factory(KernelProvisionerFactory):
    """The one that finds provisioners, with ours among them and the first choice."""

    def __init__(self, **kwargs: Any) -> None:
        SingletonConfigurable.__init__(self, **kwargs)
        self.provisioners.update({entry.name: entry for entry in PROVISIONERS})
        value = f"{__name__}:{ForkingProvisioner.__name__}"
        self.provisioners[NAME] = EntryPoint(NAME, value, self.GROUP_NAME)

    def _default_provisioner_name_default(self) -> str:
        return os.environ.get(self.default_provisioner_name_env, NAME)


def offer(forker: Forker, parent: Any) -> None:
    """Has kernels forked from now on, unless the user's configuration names a provisioner."""
    ForkingProvisioner.forker = forker
    Factory.instance(parent=parent)
