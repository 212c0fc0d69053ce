//! What an attacker's notebook tries: each attempt is Python that is true, or does not fail, when
//! it succeeds.

use serde_json::Value;

pub(super) struct Attack {
    /// To be read after "an attempt to".
    pub(super) what: &'static str,
    pub(super) code: &'static str,
}

/// Files that are nobody's but the site's and ours, below the world's folder.
pub(super) const HIDDEN: [(&str, &str); 3] = [
    ("site/settings.ini", "password = hunter2"),
    ("run/control.sock.secret", "secret"),
    ("state/users.toml", "secret"),
];

/// What the victim's notebook has about it.
pub(super) const PREPARE: &str = r#"
import os, socket
from multiprocessing import shared_memory
with open(os.path.join(os.environ["HOME"], "diary.txt"), "w") as file:
    file.write("dear diary")
terminal, other_side = os.openpty()
memory = shared_memory.SharedMemory(create=True, size=4096)
abstract = socket.socket(socket.AF_UNIX)
abstract.bind("\0perijove-" + os.urandom(8).hex())
abstract.listen()
loopback = socket.create_server(("127.0.0.1", 0))
own = socket.socket(fileno=os.dup(3))
result = {
    "folder": os.environ["HOME"], "terminal": os.ttyname(other_side),
    "memory": "/dev/shm/" + memory.name.lstrip("/"),
    "abstract": abstract.getsockname().decode(), "port": loopback.getsockname()[1],
    "socket": own.getsockname(), "base": base,
}
"#;

/// What the attacker knows, and how an attempt is judged.
pub(super) fn knowing(known: &Value) -> String {
    format!("import json\nknown = json.loads({:?})\n{TOOLS}", known.to_string())
}

const TOOLS: &str = r#"
import ctypes, os, signal, socket, subprocess, sys
hub, bob, folder, site = known["hub"], known["bob"], known["folder"], known["site"]
def reads(path):
    with open(path, "rb") as file:
        return len(file.read(1 << 20)) > 0

def is_process(pid, *words):
    said = open(f"/proc/{pid}/cmdline", "rb").read()
    return all(word.encode() in said for word in words)

def remembers(pid):
    # The first page that can be read.
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(int(next(maps).split("-")[0], 16))
        return len(memory.read(16)) == 16

def traces(pid):
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        os._exit(0 if libc.ptrace(0x4206, pid, None, None) == 0 else 1)
    return os.waitpid(child, 0)[1] == 0

def signals(pid):
    os.kill(pid, 0)
    return is_process(pid)

def connects(family, address):
    with socket.socket(family) as stream:
        stream.settimeout(5)
        stream.connect(address)
    return True

def asks_without_token(path):
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(5)
        stream.connect(path)
        stream.sendall(f"GET {bob['base']}count HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return b" 200 " in stream.recv(1000)

def attempt(code):
    try:
        return [bool(eval(code)), None]
    except BaseException as error:
        return [False, repr(error)]
"#;

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        what: "read the environment of the site's processes",
        code: r#"b"SITE_SECRET" in open(f"/proc/{hub}/environ", "rb").read()"#,
    },
    Attack { what: "read the memory of the site's processes", code: "remembers(hub)" },
    Attack { what: "trace the site's processes", code: "traces(hub)" },
    Attack { what: "signal the site's processes", code: "signals(hub)" },
    Attack { what: "see that the site's processes run", code: "is_process(hub)" },
    Attack { what: "read the site's files", code: r#"reads(folder + "/site/settings.ini")"# },
    Attack {
        what: "read the control socket's secret",
        code: r#"reads(folder + "/run/control.sock.secret")"#,
    },
    Attack { what: "read the state folder", code: r#"reads(folder + "/state/users.toml")"# },
    Attack {
        what: "write to the state folder",
        code: r#"os.open(folder + "/state/users.toml", os.O_WRONLY) >= 0"#,
    },
    Attack {
        what: "connect to a Unix socket of the site that asks for no secret",
        code: r#"connects(socket.AF_UNIX, folder + "/control.sock")"#,
    },
    Attack {
        what: "connect to the site's port on this machine",
        code: r#"connects(socket.AF_INET, (site.split(":")[0], int(site.split(":")[1])))"#,
    },
    Attack { what: "read another user's files", code: r#"reads(bob["folder"] + "/diary.txt")"# },
    Attack {
        what: "write to another user's folder",
        code: r#"os.open(bob["folder"] + "/diary.txt", os.O_WRONLY) >= 0"#,
    },
    Attack {
        what: "read the environment of another user's notebook",
        code: r#"reads(f"/proc/{bob['pid']}/environ") and is_process(bob["pid"], "notebook")"#,
    },
    Attack {
        what: "read the memory of another user's notebook, with its token",
        code: r#"remembers(bob["pid"]) and is_process(bob["pid"], "notebook")"#,
    },
    Attack {
        what: "signal another user's notebook",
        code: r#"signals(bob["pid"]) and is_process(bob["pid"], "notebook")"#,
    },
    Attack {
        what: "use another user's notebook by its socket, without its token",
        code: r#"asks_without_token(bob["socket"])"#,
    },
    Attack {
        what: "connect to an abstract Unix socket of another user's notebook",
        code: r#"connects(socket.AF_UNIX, bob["abstract"])"#,
    },
    Attack {
        what: "connect to a port that another user's notebook listens on",
        code: r#"connects(socket.AF_INET, ("127.0.0.1", bob["port"]))"#,
    },
    Attack {
        what: "read and write another user's terminal",
        code: r#"os.open(bob["terminal"], os.O_RDWR | os.O_NOCTTY) >= 0"#,
    },
    Attack { what: "list shared memory of others", code: r#"len(os.listdir("/dev/shm")) > 0"# },
    Attack {
        what: "read shared memory of another user's notebook, knowing its name",
        code: r#"reads(bob["memory"])"#,
    },
    Attack {
        what: "leave files in `/tmp` of the machine",
        code: r#"open("/tmp/perijove-planted", "w") and os.stat("/tmp/perijove-planted").st_dev == os.stat("/").st_dev and os.path.exists(folder)"#,
    },
    Attack {
        what: "gain privileges by a program that gives them",
        code: r#"b"NoNewPrivs:\t0" in open("/proc/self/status", "rb").read()"#,
    },
];
