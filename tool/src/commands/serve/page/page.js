// The page of `treecache serve`. It asks for JSON (see look.rs and live.rs), and builds all that it shows of text nodes: what is in
// a tree was written by others.
"use strict";

const PAGE = 200; // children that are asked for at a time
const MOST_ASKED = 1000; // the server's own bound
const SPANS = [120, 300, 600]; // seconds that are plotted: as many as there are, about
const SECONDS = SPANS[SPANS.length - 1];
const FEED = 200; // changes that stay in the list
const GONE_AFTER = 4000; // ms without a word, of one each second, until the page says so
const REFRESH_EVERY = 1000; // ms between two looks at what has changed

const $ = (id) => document.getElementById(id);

// --- Text ------------------------------------------------------------------------------------------------------------------------

/** An element with a class, and children that are elements or text. */
function make(tag, name = "", ...children) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.append(...children);
  return element;
}

/** Pieces of text, of which every other one is escaped. */
function pieces(list) {
  return list.map((piece, at) => (at % 2 ? make("span", "escaped", piece) : piece));
}

/** A name or a path, in a direction of its own. */
function named(shown, plain) {
  return make("bdi", "", ...(shown ? pieces(shown) : [plain]));
}

function button(label, does) {
  const element = make("button", "", label);
  element.type = "button";
  element.addEventListener("click", does);
  return element;
}

const whole = new Intl.NumberFormat("en");
const count = (number) => (typeof number === "number" ? whole.format(number) : "–");

function bytes(number) {
  if (typeof number !== "number") return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (number >= 1024 && at < units.length - 1) {
    number /= 1024;
    at += 1;
  }
  return `${at && number < 100 ? number.toFixed(1) : Math.round(number)} ${units[at]}`;
}

function duration(ms) {
  if (typeof ms !== "number") return "unknown";
  if (ms < 100) return "< 0.1 s";
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.floor(ms / 1000) % 60} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

const two = (number) => String(number).padStart(2, "0");

function clock(ms) {
  const time = new Date(ms);
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}

/** A server may say any number. */
function date(ms) {
  const time = new Date(ms);
  if (Number.isNaN(time.getTime())) return String(ms);
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${clock(ms)}`;
}

const parentOf = (path) => (path === "/" ? null : path.slice(0, path.lastIndexOf("/")) || "/");
const childOf = (path, name) => (path === "/" ? `/${name}` : `${path}/${name}`);

/** Asks for JSON; an answer that is an error is thrown. */
async function ask(path, query = {}, signal = undefined) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  const search = given.length ? `?${new URLSearchParams(given)}` : "";
  const answer = await fetch(`/api/${path}${search}`, { signal });
  const value = await answer.json();
  if (answer.ok) return value;
  throw Object.assign(new Error(value.error ?? answer.statusText), { isGone: value.is_gone === true });
}

// --- How it stands ---------------------------------------------------------------------------------------------------------------

const STATES = {
  LATENT: "not started",
  LOADING: "loading",
  IN_STEP: "in step",
  CATCHING_UP: "catching up",
  SUSPENDED: "suspended",
  LOST: "session lost",
  WARM: "warm",
  HELD: "held",
  CLOSED: "closed",
};

let status = null;
let heardAt = 0; // when the page heard of the status last, by a clock that nobody sets
let awaitedSince = 0; // when it began to listen
let isGone = false;

/** How old what is shown is, now. */
function age() {
  return typeof status?.age_ms === "number" ? status.age_ms + (performance.now() - heardAt) : null;
}

function notice() {
  const old = `What is shown is ${duration(age())} old.`;
  if (isGone) {
    const heard = status ? ` It was heard ${duration(performance.now() - heardAt)} ago. ${old}` : "";
    return ["bad", `No connection to treecache serve; trying again.${heard}`];
  }
  const by = status.is_attached ? "whoever shares the tree" : "the server";
  const fault = status.fault ? ` Last fault, ${duration(status.fault.age_ms)} ago: ${status.fault.message}` : "";
  switch (status.state) {
    case "IN_STEP":
      return status.has_root ? null : ["wait", "In step; but the root does not exist."];
    case "CATCHING_UP":
      return age() > 2000 ? ["wait", `Not in step: changes are being read. ${old}`] : null;
    case "SUSPENDED":
      return ["bad", `Not in step: no connection to ${by}. ${old}${fault}`];
    case "LOST":
      return ["bad", `Not in step: the session is lost. ${old}${fault}`];
    case "WARM":
      return ["warm", `Kept by an earlier run: no server was heard in this one yet. ${old}${fault}`];
    case "HELD":
      return ["warm", `Loaded once, and not followed. ${old}`];
    case "CLOSED":
      return ["bad", `Closed: nothing follows any more.${fault}`];
    default:
      return ["wait", `Loading: ${count(status.nodes)} nodes so far; what is shown is not complete.${fault}`];
  }
}

function showStatus() {
  if (!status && !isGone) return;
  const state = $("state");
  const shown = isGone ? "GONE" : status.state;
  state.dataset.state = shown;
  const called = isGone ? "no connection" : (STATES[shown] ?? shown);
  if (state.textContent !== called) state.textContent = called; // it is read aloud when it changes
  const said = notice();
  $("notice").hidden = !said;
  if (said) {
    $("notice").dataset.kind = said[0];
    if ($("notice").textContent !== said[1]) $("notice").textContent = said[1];
  }
  document.body.classList.toggle("gone", isGone);
  $("age").textContent = duration(age());
  if (!status) return;
  $("nodes").textContent = count(status.nodes);
  $("bytes").textContent = bytes(status.bytes);
  $("zxid").textContent = status.zxid ?? "–";
  $("zxid").title = status.is_cut ? "The server's tree as it was at this zxid" : "A lower bound: the version is no cut";
  $("server").textContent = status.server ?? (status.is_attached ? "a shared file" : "no server");
  if (status.root) $("root").replaceChildren(...named(status.root.shown, status.root.path).childNodes);
  const root = status.root ? (status.root.shown ?? [status.root.path]).join("") : "treecache";
  document.title = `${root}${shown === "IN_STEP" ? "" : ` (${called})`}`;
  const facts = [
    `treecache ${status.version}`,
    `versions: ${count(status.versions)}`,
    status.is_attached ? "attached to a file" : `connections: ${count(status.connections)}`,
    status.watch && `watches: ${status.watch}`,
    `faults: ${count(status.faults)}`,
  ];
  $("about").textContent = facts.filter(Boolean).join(" · ");
}

// --- The tree --------------------------------------------------------------------------------------------------------------------

/**
 * A node in the tree. Of its children it has a part: `children`, from the name `from` on (null: from the first one), with `before`
 * ones in front and `next` behind.
 */
class TreeNode {
  constructor(parent, path, child) {
    this.parent = parent;
    this.path = path;
    this.level = parent ? parent.level + 1 : 0;
    this.isOpen = false;
    this.children = [];
    this.from = null;
    this.before = 0;
    this.next = null;
    this.total = 0;
    this.isKnown = false;
    this.row = make("div", "row");
    this.row.role = "treeitem";
    this.row.tabIndex = -1;
    this.row.style.setProperty("--level", this.level);
    this.row.ariaLevel = String(this.level + 1);
    this.row.treeNode = this;
    this.group = make("div");
    this.group.role = "group";
    this.show(child);
  }

  /** Shows what its parent's list says of it. */
  show(child) {
    const looks = JSON.stringify([child, this.isOpen]);
    if (looks === this.looks) return;
    const isChange = this.looks !== undefined && this.child && JSON.stringify(child) !== JSON.stringify(this.child);
    this.child = child;
    this.looks = looks;
    const twist = make("span", "twist", this.mayOpen() ? (this.isOpen ? "▾" : "▸") : "");
    const name = make("span", "name", named(child.shown, child.name));
    this.row.replaceChildren(twist, name);
    if (child.is_ephemeral) this.row.append(make("span", "tag", "ephemeral"));
    if (child.is_unreadable) this.row.append(make("span", "tag", "may not be read"));
    const size = [];
    if (child.children > 0) size.push(`${count(child.children)} ${child.children === 1 ? "child" : "children"}`);
    if (child.bytes > 0) size.push(bytes(child.bytes));
    this.row.append(make("span", "size", size.join(" · ")));
    this.row.ariaExpanded = this.mayOpen() ? String(this.isOpen) : null;
    if (isChange) this.flash();
  }

  flash() {
    this.row.classList.remove("new");
    void this.row.offsetWidth; // begins the animation anew
    this.row.classList.add("new");
  }

  mayOpen() {
    return this.child.children > 0 || this.children.length > 0;
  }

  async open() {
    if (this.isOpen) return;
    this.isOpen = true;
    this.show(this.child);
    this.draw();
    await this.load();
  }

  close() {
    if (!this.isOpen) return;
    if (this.group.contains(document.activeElement)) tree.focus(this);
    this.isOpen = false;
    this.show(this.child);
    this.draw();
  }

  /** Reads its part of the list again, as long as it is, or so long. */
  async load(most = Math.max(this.children.length, PAGE)) {
    const found = [];
    let [from, first, list] = [this.from, true, null];
    try {
      while (found.length < most && (first || from !== null)) {
        list = await ask("children", { path: this.path, from, most: Math.min(most - found.length, MOST_ASKED) });
        if (first) this.before = list.before;
        first = false;
        found.push(...list.children);
        from = list.next;
      }
    } catch (error) {
      if (error.isGone && this.parent) {
        tree.isDirty.add(this.parent.path);
        return;
      }
      this.failure = error.message;
      this.draw();
      return;
    }
    this.failure = null;
    this.next = from;
    this.total = list.total;
    const known = new Map(this.children.map((child) => [child.child.name, child]));
    this.children = found.map((child) => {
      const old = known.get(child.name);
      known.delete(child.name);
      if (old) {
        old.show(child);
        return old;
      }
      const fresh = new TreeNode(this, childOf(this.path, child.name), child);
      if (this.isKnown && most === this.asked) fresh.flash();
      return fresh;
    });
    for (const gone of known.values()) gone.leave();
    this.isKnown = true;
    this.asked = most;
    this.show(this.child);
    this.draw();
  }

  /** Whoever is here is sent to the parent. */
  leave() {
    if (this.row === document.activeElement || this.group.contains(document.activeElement)) tree.focus(this.parent);
    this.row.remove();
    this.group.remove();
  }

  draw() {
    if (!this.isOpen) {
      this.group.replaceChildren();
      return;
    }
    const wanted = [];
    if (this.failure) wanted.push(this.more(this.failure));
    if (this.before > 0) {
      const top = button("from the first", () => this.loadFrom(null));
      wanted.push(this.more(top, ` ${count(this.before)} before`));
    }
    for (const child of this.children) wanted.push(child.row, child.group);
    if (this.next !== null) {
      const left = this.total - this.before - this.children.length;
      const more = [PAGE, MOST_ASKED].filter((number) => number === PAGE || left > PAGE);
      const buttons = more.map((number) =>
        button(`${count(Math.min(number, left))} more`, () => this.load(this.children.length + number)),
      );
      wanted.push(this.more(...buttons, ` of ${count(left)} that follow`));
    } else if (this.isKnown && this.children.length === 0) {
      wanted.push(this.more("no children"));
    }
    // What stays is not moved, so that nobody loses the focus.
    const stays = new Set(wanted);
    for (const element of [...this.group.childNodes]) if (!stays.has(element)) element.remove();
    wanted.forEach((element, at) => {
      if (this.group.childNodes[at] !== element) this.group.insertBefore(element, this.group.childNodes[at] ?? null);
    });
  }

  /** A line between the nodes. One that says the same is there already. */
  more(...children) {
    const line = make("div", "more", ...children);
    const old = [...this.group.children].find((other) => other.className === "more" && other.textContent === line.textContent);
    line.style.setProperty("--level", this.level + 1);
    return old ?? line;
  }

  async loadFrom(name) {
    this.from = name;
    this.children.forEach((child) => child.leave());
    this.children = [];
    this.isKnown = false;
    await this.load(PAGE);
  }
}

const tree = {
  root: null,
  current: null, // has the focus, or would have it
  chosen: null, // path
  isDirty: new Set(), // paths whose lists are to be read again
  isAllDirty: false,
  isRefreshing: false,

  begin(root) {
    this.root = new TreeNode(null, root.path, { name: root.path, shown: root.shown, children: 1 });
    $("tree").replaceChildren(this.root.row, this.root.group);
    this.setCurrent(this.root);
    this.readRoot();
    this.root.open();
  },

  async readRoot() {
    try {
      const node = await ask("node", { path: this.root.path });
      const { name, shown } = this.root.child;
      this.root.show({ name, shown, children: node.stat?.numChildren, bytes: node.stat?.dataLength });
    } catch {
      // It is said above the tree.
    }
  },

  /** The nodes that can be seen, in order. */
  *visible(node = this.root) {
    yield node;
    if (node.isOpen) for (const child of node.children) yield* this.visible(child);
  },

  find(path) {
    if (!this.root) return null;
    if (path === this.root.path) return this.root;
    const parent = path.startsWith("/") ? this.find(parentOf(path) ?? this.root.path) : null;
    return parent?.path === path ? null : (parent?.children.find((child) => child.path === path) ?? null);
  },

  setCurrent(node) {
    if (this.current) this.current.row.tabIndex = -1;
    this.current = node;
    node.row.tabIndex = 0;
  },

  focus(node) {
    this.setCurrent(node);
    node.row.focus();
  },

  choose(path) {
    this.chosen = path;
    this.mark();
    details.show(path);
    // On a narrow screen it is below.
    if (matchMedia("(max-width: 759px)").matches) $("node").scrollIntoView({ block: "nearest" });
  },

  mark() {
    for (const row of $("tree").querySelectorAll('[aria-selected="true"]')) row.ariaSelected = null;
    const node = this.chosen && this.find(this.chosen);
    if (node) node.row.ariaSelected = "true";
  },

  /** Opens what is above a node, and chooses it. A long list is shown from its name on. */
  async reveal(path) {
    this.choose(path);
    const above = [];
    for (let at = path; at !== null && at !== this.root.path; at = parentOf(at)) above.unshift(at);
    let node = this.root;
    for (const step of above) {
      await node.open();
      let child = node.children.find((other) => other.path === step);
      if (!child && node.isKnown) {
        await node.loadFrom(step.slice(step.lastIndexOf("/") + 1));
        child = node.children.find((other) => other.path === step);
      }
      if (!child) break;
      node = child;
    }
    this.setCurrent(node);
    this.mark();
    node.row.scrollIntoView({ block: "nearest" });
  },

  /** What a change makes old: the list that the node is in, which shows its numbers, and that of its parent. */
  changed(change) {
    const parent = parentOf(change.path);
    if (change.path === this.root?.path) this.isRootOld = true;
    if (parent === null) return;
    this.isDirty.add(parent);
    if (change.kind !== "updated") {
      this.isDirty.add(change.path);
      const above = parentOf(parent);
      if (above !== null) this.isDirty.add(above);
      if (parent === this.root?.path) this.isRootOld = true;
    }
  },

  async refresh() {
    const isAll = this.isAllDirty;
    if (!this.root || this.isRefreshing || isGone || !(isAll || this.isDirty.size || this.isRootOld)) return;
    this.isRefreshing = true;
    const dirty = this.isDirty;
    this.isDirty = new Set();
    this.isAllDirty = false;
    try {
      if (isAll || this.isRootOld) await this.readRoot();
      this.isRootOld = false;
      for (const node of [...this.visible()]) {
        if (node.isOpen && (isAll || dirty.has(node.path))) await node.load();
      }
      this.mark();
    } finally {
      this.isRefreshing = false;
    }
  },
};

$("tree").addEventListener("click", (event) => {
  const node = event.target.closest(".row")?.treeNode;
  if (!node) return;
  tree.focus(node);
  if (event.target.closest(".twist")) {
    if (node.isOpen) node.close();
    else if (node.mayOpen()) node.open();
    return;
  }
  tree.choose(node.path);
});

$("tree").addEventListener("dblclick", (event) => {
  const node = event.target.closest(".row")?.treeNode;
  if (!node || event.target.closest(".twist") || !node.mayOpen()) return;
  if (node.isOpen) node.close();
  else node.open();
});

$("tree").addEventListener("keydown", (event) => {
  const node = event.target.treeNode;
  if (!node || event.ctrlKey || event.altKey || event.metaKey) return;
  const visible = [...tree.visible()];
  const at = visible.indexOf(node);
  const go = (to) => tree.focus(visible[Math.max(0, Math.min(visible.length - 1, to))]);
  const keys = {
    ArrowDown: () => go(at + 1),
    ArrowUp: () => go(at - 1),
    PageDown: () => go(at + 15),
    PageUp: () => go(at - 15),
    Home: () => go(0),
    End: () => go(visible.length - 1),
    ArrowRight: () => {
      if (node.isOpen) go(at + 1);
      else if (node.mayOpen()) node.open();
    },
    ArrowLeft: () => {
      if (node.isOpen) node.close();
      else if (node.parent) tree.focus(node.parent);
    },
    Enter: () => tree.choose(node.path),
    " ": () => tree.choose(node.path),
  };
  if (keys[event.key]) {
    event.preventDefault();
    keys[event.key]();
  }
});

// --- A node ----------------------------------------------------------------------------------------------------------------------

const details = {
  path: null,

  show(path) {
    if (path !== this.path) $("node-body").hidden = true;
    this.path = path;
    return this.read();
  },

  async read() {
    const path = this.path;
    if (path === null || isGone) return;
    let [node, error] = [null, null];
    try {
      node = await ask("node", { path });
    } catch (thrown) {
      error = thrown;
    }
    // Another one may have been chosen meanwhile.
    if (path !== this.path) return;
    $("node-hint").hidden = true;
    this.showPath(path, node?.shown);
    $("node-body").hidden = false;
    if (error) {
      this.note(error.isGone ? "This node is gone. What was in it is shown below, if it was read." : error.message);
      if ($("node-data").dataset.path !== path) this.showData(null, path);
      return;
    }
    this.note(node.is_unreadable ? "This session may not read the node: only its name is known." : null);
    this.showData(node, path);
  },

  note(text) {
    $("node-note").hidden = !text;
    $("node-note").textContent = text ?? "";
  },

  /** Each name in a path leads to its node. What is escaped of a whole path is escaped in its names. */
  showPath(path, shown) {
    const heading = $("node-path");
    const root = tree.root?.path ?? "/";
    const links = [];
    if (shown || !(path === root || path.startsWith(root === "/" ? "/" : `${root}/`))) {
      links.push(named(shown, path));
    } else {
      const names = path === root ? [] : path.slice(root === "/" ? 1 : root.length + 1).split("/");
      let at = root;
      links.push(button(named(null, root), () => tree.reveal(root)));
      for (const name of names) {
        at = childOf(at, name);
        const target = at;
        links.push(at === `/${name}` ? "" : "/", button(named(null, name), () => tree.reveal(target)));
      }
    }
    heading.replaceChildren(...links);
  },

  showData(node, path) {
    const [head, body, table] = [$("node-data-head"), $("node-data"), $("node-stat").tBodies[0]];
    body.dataset.path = path;
    const data = node?.data;
    const length = node?.stat?.dataLength;
    body.className = data?.kind === "bytes" ? "dump" : "";
    body.hidden = !(data?.pieces && data.length > 0);
    body.replaceChildren(...(data?.pieces ? pieces(data.pieces) : []));
    if (!data) head.textContent = "";
    else if (data.kind === "not kept") head.textContent = `${bytes(length)} of data, which is not kept (data=none)`;
    else if (data.length === 0) head.textContent = "No data";
    else {
      const part = data.is_whole ? "" : "; only the beginning is shown";
      head.textContent = `${bytes(data.length)} ${data.kind === "bytes" ? "that are no text" : "of text"}${part}`;
    }
    table.replaceChildren();
    const stat = node?.stat;
    if (!stat) return;
    const line = (what, value, number) =>
      table.append(make("tr", "", make("th", "", what), make("td", "", value), make("td", "number", number)));
    line("created", date(stat.ctime), `czxid ${stat.czxid}`);
    line("data changed", date(stat.mtime), `mzxid ${stat.mzxid}`);
    line("children changed", "", `pzxid ${stat.pzxid}`);
    line("version", count(stat.version), `cversion ${stat.cversion}, aversion ${stat.aversion}`);
    line("children", count(stat.numChildren), "");
    if (stat.ephemeralOwner !== "0x0") line("ephemeral", "of session", stat.ephemeralOwner);
    line("read at", "", `zxid ${node.zxid}`);
  },

  changed(change) {
    if (this.path === null) return;
    if (change.path === this.path || parentOf(change.path) === this.path) this.isOld = true;
  },

  async refresh() {
    if (!this.isOld) return;
    this.isOld = false;
    await this.read();
  },
};

// --- Search ----------------------------------------------------------------------------------------------------------------------

const search = {
  asked: null,
  timer: 0,

  type() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.run(), 200);
  },

  async run() {
    this.asked?.abort();
    const text = $("search").value;
    $("found").hidden = !text;
    if (!text) return;
    this.asked = new AbortController();
    try {
      this.show(await ask("search", { text }, this.asked.signal));
    } catch (error) {
      if (error.name === "AbortError") return;
      $("found-summary").textContent = error.message;
      $("found-list").replaceChildren();
    }
  },

  show(answer) {
    const found = answer.found.length;
    const summary = {
      time: `${count(found)} paths in the first ${count(answer.looked_at)} of ${count(answer.of)} nodes: the time was over`,
      results: `The first ${count(found)} paths; type more of it to see others`,
    };
    const all = found === 0 ? "No path has this in it" : `${count(found)} ${found === 1 ? "path" : "paths"}`;
    $("found-summary").textContent = summary[answer.ended_by] ?? all;
    const line = (one) => {
      const link = button(named(one.shown, one.path), () => tree.reveal(one.path));
      return make("li", "", link);
    };
    $("found-list").replaceChildren(...answer.found.map(line));
  },
};

$("search").addEventListener("input", () => search.type());
$("search").addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    $("search").value = "";
    search.run();
  } else if (event.key === "ArrowDown") {
    event.preventDefault();
    ($("found").hidden ? tree.current?.row : $("found-list").querySelector("button"))?.focus();
  }
});
$("found-list").addEventListener("keydown", (event) => {
  const step = { ArrowDown: "nextSibling", ArrowUp: "previousSibling" }[event.key];
  if (!step) return;
  event.preventDefault();
  const to = event.target.closest("li")?.[step]?.firstChild;
  if (to) to.focus();
  else if (event.key === "ArrowUp") $("search").focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && event.target !== $("search") && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    $("search").focus();
  }
});

// --- Changes ---------------------------------------------------------------------------------------------------------------------

const KINDS = { added: "+ added", updated: "~ updated", removed: "− removed" };

const feed = {
  isHeld: false,
  waiting: 0,

  tell(told) {
    if (this.isHeld) {
      this.waiting += told.left_out + told.changes.length;
      this.label();
      return;
    }
    $("quiet-yet").hidden = true;
    if (told.left_out > 0) this.leftOut(told.left_out);
    for (const change of told.changes) {
      const time = make("time", "", clock(change.at));
      const kind = make("span", `kind ${change.kind}`, KINDS[change.kind] ?? change.kind);
      const path = button(named(change.shown, change.path), () => tree.reveal(change.path));
      const size = change.kind === "removed" || change.bytes === null ? "" : bytes(change.bytes);
      const line = make("li", "", time, kind, path, make("span", "size", size));
      line.title = `zxid ${change.zxid}`;
      $("feed").prepend(line);
    }
    while ($("feed").childNodes.length > FEED) $("feed").lastChild.remove();
  },

  leftOut(number) {
    $("feed").prepend(make("li", "left-out", `… ${count(number)} more ${number === 1 ? "change" : "changes"}, not listed`));
  },

  label() {
    $("hold").textContent = this.isHeld ? `Go on${this.waiting ? ` (${count(this.waiting)})` : ""}` : "Hold";
    $("hold").ariaPressed = String(this.isHeld);
  },

  toggle() {
    this.isHeld = !this.isHeld;
    if (!this.isHeld && this.waiting) this.leftOut(this.waiting);
    this.waiting = 0;
    this.label();
  },
};

$("hold").addEventListener("click", () => feed.toggle());

// --- Plots -----------------------------------------------------------------------------------------------------------------------

const WIDTH = 600;
const HEIGHT = 76;

function drawn(tag, name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  element.setAttribute("class", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** A number that is easy to read, and not below another one. */
function ceiling(number) {
  if (number <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(number));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= number);
}

/** One plot: `value` of a second, how numbers are written, and whether it begins with nought. */
class Plot {
  constructor(id, value, written, { fromNought = true } = {}) {
    Object.assign(this, { value, written, fromNought });
    this.figure = $(id);
    this.svg = drawn("svg", "", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    this.axis = make("div", "axis");
    this.figure.append(this.svg, this.axis);
    this.pointedAt = null;
    this.svg.addEventListener("pointermove", (event) => {
      const box = this.svg.getBoundingClientRect();
      plots.pointAt(Math.round(((event.clientX - box.left) / box.width) * (plots.span - 1)));
    });
    this.svg.addEventListener("pointerleave", () => plots.pointAt(null));
  }

  /** `seconds`: the samples of the last minutes; those that there are none of are null. */
  draw(seconds, at) {
    const known = seconds.map((second) => (second ? this.value(second) : null));
    const numbers = known.filter((number) => number !== null);
    const most = Math.max(...numbers, 0);
    const least = this.fromNought || !numbers.length ? 0 : Math.min(...numbers);
    const margin = this.fromNought ? 0 : Math.max(1, (most - least) * 0.15, most * 0.001);
    const [low, high] = this.fromNought ? [0, ceiling(most)] : [Math.max(0, least - margin), most + margin];
    const last = seconds.length - 1;
    const x = (index) => (index / last) * WIDTH;
    const y = (number) => HEIGHT - 4 - ((number - low) / (high - low)) * (HEIGHT - 10);
    const shapes = [];
    let from = null;
    seconds.forEach((second, index) => {
      const isOut = second !== null && second.state !== "IN_STEP" && second.state !== "CATCHING_UP";
      if (isOut && from === null) from = index;
      if (from !== null && (!isOut || index === last)) {
        const width = Math.max(x(index) - x(from), 1);
        shapes.push(drawn("rect", "band", { x: x(from), y: 0, width, height: HEIGHT }));
        from = null;
      }
    });
    shapes.push(drawn("line", "base", { x1: 0, x2: WIDTH, y1: HEIGHT - 4, y2: HEIGHT - 4 }));
    let run = [];
    const end = () => {
      if (!run.length) return;
      const line = run.map(([index, number]) => `${x(index).toFixed(1)},${y(number).toFixed(1)}`).join(" ");
      const [left, right] = [x(run[0][0]).toFixed(1), x(run[run.length - 1][0]).toFixed(1)];
      shapes.push(drawn("polygon", "area", { points: `${left},${HEIGHT - 4} ${line} ${right},${HEIGHT - 4}` }));
      shapes.push(drawn("polyline", "line", { points: line }));
      run = [];
    };
    known.forEach((number, index) => (number === null ? end() : run.push([index, number])));
    end();
    if (at !== null) shapes.push(drawn("line", "at", { x1: x(at), x2: x(at), y1: 0, y2: HEIGHT }));
    this.svg.replaceChildren(...shapes);
    const shown = at === null ? known[last] : known[at];
    const when = at !== null && seconds[at] ? `${clock(seconds[at].at)}: ` : "";
    this.figure.querySelector("output").textContent = when + (shown === null ? "–" : this.written(shown));
    this.axis.replaceChildren(
      make("span", "", `${seconds.length / 60} min ago`),
      make("span", "", numbers.length ? `most ${this.written(most)}` : ""),
      make("span", "", "now"),
    );
    this.svg.setAttribute("aria-label", numbers.length ? `now ${this.written(numbers[numbers.length - 1])}, most ${this.written(most)}` : "nothing yet");
  }
}

const plots = {
  all: [
    new Plot("plot-changes", (second) => second.changes, count),
    new Plot("plot-age", (second) => second.age, duration),
    new Plot("plot-nodes", (second) => second.nodes, count, { fromNought: false }),
  ],
  seconds: new Map(), // by their number
  span: SPANS[0],
  last: -1,
  at: null,

  add(samples) {
    for (const [number, at, changes, age_ms, nodes, state] of samples) {
      this.seconds.set(number, { at, changes, age: age_ms, nodes, state });
      this.last = Math.max(this.last, number);
    }
    for (const number of this.seconds.keys()) if (number <= this.last - SECONDS) this.seconds.delete(number);
    this.draw();
  },

  pointAt(at) {
    this.at = at === null ? null : Math.max(0, Math.min(this.span - 1, at));
    this.draw();
  },

  draw() {
    const oldest = Math.min(...this.seconds.keys());
    this.span = SPANS.find((span) => this.last - oldest < span) ?? SECONDS;
    const seconds = Array.from({ length: this.span }, (_, index) => this.seconds.get(this.last - this.span + 1 + index) ?? null);
    for (const plot of this.all) plot.draw(seconds, this.at);
  },

  async fill() {
    const history = await ask("history");
    if (history.run === status?.run) this.add(history.samples);
  },
};

// --- The connection --------------------------------------------------------------------------------------------------------------

const connection = {
  source: null,

  open() {
    this.source?.close();
    this.source = new EventSource("/api/live");
    this.source.addEventListener("status", (event) => this.heard(JSON.parse(event.data)));
    this.source.addEventListener("changes", (event) => {
      const told = JSON.parse(event.data);
      feed.tell(told);
      if (told.left_out > 0) {
        tree.isAllDirty = true;
        details.isOld = true;
      }
      for (const change of told.changes) {
        tree.changed(change);
        details.changed(change);
      }
    });
    this.source.addEventListener("error", () => {
      this.isInterrupted = true;
      // A browser gives up where the answer is no stream; so does this page never.
      if (this.source.readyState === EventSource.CLOSED) setTimeout(() => this.open(), 2000);
    });
    this.isInterrupted = true;
    awaitedSince = performance.now();
  },

  heard({ samples, ...told }) {
    // Another process: its numbers are others, and so may be its page.
    if (status && status.run !== told.run) {
      location.reload();
      return;
    }
    const old = status;
    status = told;
    heardAt = performance.now();
    isGone = false;
    if (!tree.root && told.root) tree.begin(told.root);
    if (this.isInterrupted) {
      // Nobody has told what happened meanwhile.
      this.isInterrupted = false;
      tree.isAllDirty = true;
      details.isOld = true;
      plots.fill().catch(() => {});
    } else {
      plots.add(samples);
    }
    // While it loads, nothing is told of single nodes.
    if (!told.is_initialized || old?.state !== told.state) {
      tree.isAllDirty = true;
      details.isOld = true;
    }
    showStatus();
  },
};

setInterval(() => {
  if (!document.hidden && performance.now() - Math.max(heardAt, awaitedSince) > GONE_AFTER) isGone = true;
  showStatus();
}, 250);

setInterval(() => {
  tree.refresh().catch(() => {});
  details.refresh().catch(() => {});
}, REFRESH_EVERY);

// A browser has six connections for all pages of a server: one that nobody sees leaves its own to the others.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) connection.source?.close();
  else connection.open();
});

connection.open();
