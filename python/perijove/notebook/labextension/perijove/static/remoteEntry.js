// What perijove puts into Jupyter's pages: a warning before the end, and an entry that shuts down.
//
// Written by hand: JupyterLab and Notebook load it as a federated module (a container with `init` and
// `get`); nbclassic loads it as a script. It asks `-/state`, beside the notebook, how long that lives.
"use strict";
(() => {
  // Seconds.
  const SAVE_WITHIN = 30;
  const KNOWN_WITHIN = 1.5;

  // --- what the page is -----------------------------------------------------------------------

  const script = document.currentScript;
  const config = (() => {
    try {
      return JSON.parse(document.getElementById("jupyter-config-data").textContent);
    } catch {
      return {};
    }
  })();
  const base = (script && script.dataset.baseUrl) || config.baseUrl || "/";
  const own = address => `${base}-/${address}`;

  const post = address =>
    fetch(own(address), {
      method: "POST",
      credentials: "same-origin",
      headers: { Accept: "application/json" },
    });

  // --- the warning ----------------------------------------------------------------------------

  // Of two colours that are legible on light and dark pages alike.
  const STYLE = {
    position: "fixed", top: "0", left: "0", right: "0", zIndex: "100000",
    display: "flex", gap: ".8rem", alignItems: "center", justifyContent: "center",
    padding: ".5rem 1rem", background: "#7a3410", color: "#fff",
    font: "14px/1.4 system-ui, sans-serif", boxShadow: "0 1px 6px rgba(0,0,0,.4)",
  };

  const BUTTON =
    "font:inherit;padding:.2rem .9rem;border:0;border-radius:.3rem;background:#fff;color:#7a3410;cursor:pointer";

  let banner = null;

  function makeBanner() {
    const made = document.createElement("div");
    made.id = "perijove-warning";
    made.setAttribute("role", "alert");
    Object.assign(made.style, STYLE);
    document.body.append(made);
    return made;
  }

  function show(state, save) {
    const warning = state.warning;
    const left = Math.max(0, Math.round(warning.at - state.now));
    banner = banner || makeBanner();
    const at = new Date(Date.now() + left * 1000);
    const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    const why = document.createElement("span");
    why.textContent = warning.reason === "idle"
      ? `Nobody has used this notebook for a while. It ends at ${time}, with its kernels; files stay.`
      : `The time of this notebook is over at ${time}. It ends then, with its kernels; files stay.`;
    banner.replaceChildren(why);
    const button = (text, act) => {
      const made = document.createElement("button");
      made.textContent = text;
      made.style.cssText = BUTTON;
      made.addEventListener("click", act);
      banner.append(made);
    };
    if (warning.reason === "idle") {
      button("Keep it", async () => {
        await post("keep");
        look();
      });
    } else {
      button("Save all", save);
    }
  }

  function showEnd() {
    hide();
    banner = makeBanner();
    const words = document.createElement("span");
    words.textContent = "This notebook has ended, with its kernels. What was saved is where it was.";
    const link = document.createElement("button");
    link.textContent = "Go on from there";
    link.style.cssText = BUTTON;
    link.addEventListener("click", () => {
      window.onbeforeunload = null;
      location.assign(base);
    });
    banner.append(words, link);
  }

  // Once in each tab, for each time that something has come to its end.
  function tell(id, at, text) {
    if (sessionStorage.getItem(id) === String(at)) return;
    const known = document.getElementById(id);
    if (known && known.dataset.at === String(at)) return;
    const notice = document.createElement("div");
    notice.id = id;
    notice.dataset.at = at;
    notice.setAttribute("role", "alert");
    Object.assign(notice.style, STYLE, { top: "auto", bottom: "0" });
    notice.textContent = text;
    const close = document.createElement("button");
    close.textContent = "Close";
    close.style.cssText = BUTTON;
    close.addEventListener("click", () => {
      sessionStorage.setItem(id, String(at));
      notice.remove();
    });
    notice.append(close);
    if (known) known.remove();
    document.body.append(notice);
  }

  const tellOfDeath = at => tell(
    "perijove-revived", at,
    "The notebook's server ended by itself and was started anew. Its kernels are gone: run your cells again."
  );

  const tellOfMemory = ({ at, limit }) => tell(
    "perijove-out-of-memory", at,
    `Out of memory: this notebook reached its limit of ${Math.round(limit / 2 ** 20)} MiB, and what used most ` +
      "was ended. A kernel that was ended starts anew without its variables: run your cells again, on less at once."
  );

  function hide() {
    if (banner) banner.remove();
    banner = null;
  }

  // --- the loop -------------------------------------------------------------------------------

  let timer = 0;
  let saved = 0;
  let home = { url: "/", title: "Back to the site" };
  let save = () => {};

  async function look() {
    clearTimeout(timer);
    let next = 30;
    try {
      const answer = await fetch(own("state"), { credentials: "same-origin", cache: "no-store" });
      if (answer.ok) {
        const state = await answer.json();
        next = state.ask_again || next;
        if (state.home) home = state.home;
        if (state.revived) tellOfDeath(state.revived);
        if (state.out_of_memory) tellOfMemory(state.out_of_memory);
        const warning = state.state === "ready" && state.warning;
        if (warning) {
          show(state, save);
          // Once for each end, shortly before it.
          if (warning.at - state.now <= Math.max(SAVE_WITHIN, next + 5) && saved !== warning.at) {
            saved = warning.at;
            save();
          }
        } else if (state.state === "absent" || state.state === "failed") {
          showEnd();
        } else {
          hide();
        }
      }
    } catch {
      // The site is away; the page says so itself.
    }
    timer = setTimeout(look, next * 1000);
  }

  // A kernel has died: why is known in a moment.
  function lookSoon() {
    clearTimeout(timer);
    timer = setTimeout(look, KNOWN_WITHIN * 1000);
  }

  async function shutDown() {
    const sure = window.confirm(
      "Shut this notebook down? Its kernels and terminals end, and with them all variables. Saved files stay."
    );
    if (!sure) return;
    await save();
    await post("stop").catch(() => {});
    window.onbeforeunload = null;
    location.assign(home.url);
  }

  // --- JupyterLab and Notebook ------------------------------------------------------------------

  // Any version that the page has: only what has been there since JupyterLab 3 is used.
  async function shared(scope, name) {
    const versions = scope && scope[name];
    const first = versions && Object.values(versions)[0];
    if (!first) return null;
    const factory = await first.get();
    return factory();
  }

  const DEAD = ["autorestarting", "dead"];

  function watchKernel(panel) {
    panel.sessionContext.statusChanged.connect((_, status) => {
      if (DEAD.includes(status)) lookSoon();
    });
  }

  function plugin(menus, notebooks) {
    const optional = [menus && menus.IMainMenu, notebooks && notebooks.INotebookTracker];
    const given = optional.map(Boolean);
    return {
      id: "perijove:notebook",
      description: "Warns before the notebook's end, and shuts it down",
      autoStart: true,
      requires: [],
      optional: optional.filter(Boolean),
      activate: (app, ...found) => {
        const [menu, tracker] = given.map(is => (is ? found.shift() : null));
        // Only what is changed: to save is to use the notebook, which puts its end off.
        save = async () => {
          const saved = [];
          for (const widget of app.shell.widgets("main")) {
            const { context } = widget;
            if (context && context.model && context.model.dirty) {
              saved.push(context.save().catch(() => {}));
            }
          }
          await Promise.all(saved);
        };
        app.commands.addCommand("perijove:shut-down", {
          label: "Shut Down",
          caption: "End this notebook with its kernels, and go back to the site",
          execute: shutDown,
        });
        app.commands.addCommand("perijove:home", {
          label: () => home.title,
          caption: "Leave the notebook running, and go to the site",
          execute: () => location.assign(home.url),
        });
        if (menu) {
          const items = [{ command: "perijove:home" }, { command: "perijove:shut-down" }];
          menu.fileMenu.addGroup(items, 1000);
        }
        if (tracker) {
          tracker.forEach(watchKernel);
          tracker.widgetAdded.connect((_, panel) => watchKernel(panel));
        }
        look();
      },
    };
  }

  let scope = null;
  const container = {
    init: given => {
      scope = given;
    },
    get: async () => {
      const [menus, notebooks] = await Promise.all(
        ["@jupyterlab/mainmenu", "@jupyterlab/notebook"].map(name => shared(scope, name).catch(() => null))
      );
      const module = { default: plugin(menus, notebooks) };
      Object.defineProperty(module, "__esModule", { value: true, enumerable: true });
      return () => module;
    },
  };
  (window._JUPYTERLAB = window._JUPYTERLAB || {}).perijove = container;

  // --- nbclassic --------------------------------------------------------------------------------

  function classic() {
    save = () => {
      const notebook = window.Jupyter && window.Jupyter.notebook;
      if (notebook && notebook.dirty) return notebook.save_notebook();
    };
    // There is no way out of here but the site's own.
    document.getElementById("login_widget")?.remove();
    const menu = document.getElementById("file_menu");
    if (menu && !document.getElementById("shutdown")) {
      for (const [id, text, act] of [
        ["perijove-home", null, () => location.assign(home.url)],
        ["shutdown", "Shutdown", shutDown],
      ]) {
        const item = document.createElement("li");
        item.id = id;
        const link = document.createElement("a");
        link.href = "#";
        link.textContent = text || home.title;
        link.title = id === "shutdown" ? "Shutdown and return to the site" : "";
        link.addEventListener("click", event => {
          event.preventDefault();
          act();
        });
        item.append(link);
        menu.append(item);
      }
    }
    const events = window.Jupyter && window.Jupyter.notebook && window.Jupyter.notebook.events;
    if (events) events.on("kernel_autorestarting.Kernel kernel_dead.Kernel", lookSoon);
    look();
  }

  if (script && script.dataset.baseUrl) {
    document.readyState === "complete" ? classic() : window.addEventListener("load", classic);
  }
})();
