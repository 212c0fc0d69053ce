//! Versions of the site that do not work, each in a way of its own.

/// A version that must not take over.
#[derive(Debug)]
pub(super) struct Broken {
    /// At the end of the site's code.
    pub(super) code: &'static str,
    /// At the end of its configuration.
    pub(super) setting: &'static str,
    /// What is told about it.
    pub(super) told: &'static str,
}

fn code(code: &'static str, told: &'static str) -> Broken {
    Broken { code, setting: "", told }
}

fn setting(setting: &'static str, told: &'static str) -> Broken {
    Broken { code: "", setting, told }
}

pub(super) fn all() -> Vec<Broken> {
    const CRASHES_LATER: &str = "
import threading

threading.Timer(0.03, os._exit, [1]).start()
";
    const UNWELL: &str = "
VIEWS['/health'] = None
";
    const UNWELL_LATER: &str = "
import threading

threading.Timer(0.03, VIEWS.pop, ['/health']).start()
";
    const NEVER_READY: Broken = Broken {
        code: "\ntime.sleep(1000)\n",
        setting: "site.start-time = '1s'",
        told: "was not ready after 1.0 s",
    };
    // Time enough for a busy machine to load it, and to ask.
    const ALWAYS_UNWELL: Broken =
        Broken { code: UNWELL, setting: "site.start-time = '6s'", told: "/health answered 500" };
    // Neither finds anything to install, should one of them be there.
    const NOT_INSTALLED: &str = "site.server = 'uwsgi'\nsite.python = 'bare'\n\
        site.install = true\nsite.environment = { PIP_NO_INDEX = '1', UV_OFFLINE = '1', \
        UV_CACHE_DIR = 'bare/cache' }";
    const NO_SERVER: &str = "site.server = 'uwsgi'\nsite.python = 'bare'";
    const OTHER: &str = "route = [{ path = '/chat/', app = 'no_chat:application' }]";
    vec![
        code("\ndef (:\n", "SyntaxError"),
        code("\nimport a_module_that_is_not_there\n", "a_module_that_is_not_there"),
        code("\ndel application\n", "application"),
        code("\nraise SystemExit(3)\n", "SystemExit: 3"),
        code("\nos.kill(os.getpid(), 9)\n", "signal 9"),
        code(CRASHES_LATER, "exit status 1"),
        code(UNWELL_LATER, "/health answered 500"),
        ALWAYS_UNWELL,
        NEVER_READY,
        setting("site.python = 'nowhere/python'", "nowhere/python"),
        setting("site.root = 'gone'", "there is no folder"),
        setting(NO_SERVER, "does not have uWSGI"),
        setting(NOT_INSTALLED, "uWSGI==2.0.31 could not be installed"),
        // Of two applications one alone.
        setting(OTHER, "no_chat"),
        setting("site.threds = 2", "did you mean `site.threads`?"),
    ]
}
