"""What a power cut may leave on disk: the calls of a process on one folder, from strace(1), and every state of the folder that
they allow when the power goes between them.

The rules are those of a journalling filesystem (ext4, xfs), with nothing that it happens to do besides:
    - what fsync(2) or fdatasync(2) of a file has not seen of its content may be lost; a file that was never synced may be empty;
    - a name that was made, removed, renamed or exchanged counts once one of its folders was synced after it; before that
      it may be there or not, whatever became of the names changed before and after it;
    - a rename or exchange happens as a whole or not at all.
"""
import copy
import hashlib
import os
import pathlib
import re
import stat
from collections import namedtuple

CALLS = ("openat", "mkdirat", "write", "pwrite64", "renameat2", "renameat", "symlinkat", "linkat", "unlinkat", "fsync", "fdatasync",
         "ftruncate", "fchmod")
LINE = re.compile(r"^(?:\d+ )?(\w+)\((.*)\)\s+= (\d+)(?:<(.*)>)?$")
FD = re.compile(r"^(?:\d+|AT_FDCWD)<(.*?)>$")

# One change. kind: name (changes: [(folder, name, node or None)]), data (node, its whole content from now on), sync (node).
Step = namedtuple("Step", "kind what call")


def strace_words(log, pid):
    return ["strace", "-qq", "-y", "-xx", "-s", "1000000", "-e", "signal=none", "-e", "trace=" + ",".join("?" + c for c in CALLS),
            "-o", str(log), "-p", str(pid)]


def _text(word):
    """A string of strace -xx; None where it is none."""
    if not (word.startswith('"') and word.endswith('"')):
        return None
    return bytes(int(h, 16) for h in re.findall(r"\\x([0-9a-f]{2})", word))


def _path_of(word):
    """The path of a descriptor, as strace -y -xx writes it; "" for what has none."""
    found = FD.match(word)
    return os.fsdecode(bytes.fromhex(found[1].replace("\\x", ""))) if found and found[1].startswith("\\x") else ""


def _split(arguments):
    """The arguments of a call: no comma stands inside of a string of -xx; paths of descriptors may hold one."""
    return [word.strip() for word in re.split(r", (?![^<]*>)", arguments)]


class Node:
    """A file, folder or symbolic link; its content is the tracer's or, where others wrote it through a descriptor, the disk's."""

    def __init__(self, kind, mode=0o600, target=None):
        self.kind, self.mode, self.target = kind, mode, target
        self.content = b""
        self.written = False  # by the traced process


class Disk:
    """The folder as it was before the first call, all of it safe; then the calls."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.names = {}  # {folder node: {name: node}}: as programs see it now
        self.top = self._read(self.root)
        self.before = {folder: dict(names) for folder, names in self.names.items()}
        self.safe = {node: node.content for names in self.names.values() for node in names.values()}
        self.steps = []

    def _read(self, path):
        info = path.lstat()
        mode = stat.S_IMODE(info.st_mode)
        if stat.S_ISLNK(info.st_mode):
            return Node("link", target=os.readlink(path))
        if not stat.S_ISDIR(info.st_mode):
            node = Node("file", mode)
            node.content = path.read_bytes() if stat.S_ISREG(info.st_mode) else b""
            return node
        folder = Node("folder", mode)
        self.names[folder] = {entry.name: self._read(entry) for entry in path.iterdir()}
        return folder

    def put(self, path, content, mode=0o600):
        """A file that another program has put there, safely, before the first call."""
        folder, name = self._find(os.path.dirname(path)), os.path.basename(path)
        node = Node("file", mode)
        node.content = content
        for names in (self.names, self.before):
            names[folder][name] = node
        self.safe[node] = content

    def _find(self, path):
        """The node of a path in the folder; None: outside or not there."""
        path = os.path.normpath(path.removesuffix(" (deleted)"))
        if path == str(self.root):
            return self.top
        if not path.startswith(str(self.root) + "/"):
            return None
        node = self.top
        for part in path[len(str(self.root)) + 1:].split("/"):
            node = self.names.get(node, {}).get(part)
        return node

    def _at(self, folder, name):
        """(folder node, name) of the two arguments of an ...at call; None: outside."""
        path = os.path.join(_path_of(folder), os.fsdecode(_text(name)))
        node = self._find(os.path.dirname(path))
        return (node, os.path.basename(path)) if node else None

    # --- the calls

    def read_trace(self, text):
        for line in text.splitlines():
            found = LINE.match(line)
            if found:
                getattr(self, "_" + found[1])(_split(found[2]), line)

    def _change(self, call, *changes):
        for folder, name, node in changes:
            if node:
                self.names[folder][name] = node
            else:
                self.names[folder].pop(name, None)
        self.steps.append(Step("name", list(changes), call))

    def _openat(self, words, call):
        place = self._at(words[0], words[1]) if "O_CREAT" in words[2] else None
        there = place and self.names[place[0]].get(place[1])
        if there and "O_TRUNC" in words[2]:
            there.content = b""
            self.steps.append(Step("data", (there, b""), call))
        elif place and not there:
            node = Node("file", int(words[3], 8))
            self._change(call, (*place, node))

    def _mkdirat(self, words, call):
        place = self._at(words[0], words[1])
        if place:
            node = Node("folder", int(words[2], 8))
            self.names[node] = {}
            self.before[node] = {}
            self._change(call, (*place, node))

    def _symlinkat(self, words, call):
        place = self._at(words[1], words[2])
        if place:
            self._change(call, (*place, Node("link", target=os.fsdecode(_text(words[0])))))

    def _linkat(self, words, call):
        old, new = self._at(words[0], words[1]), self._at(words[2], words[3])
        if old and new:
            self._change(call, (*new, self.names[old[0]][old[1]]))

    def _unlinkat(self, words, call):
        place = self._at(words[0], words[1])
        if place:
            self._change(call, (*place, None))

    def _renameat2(self, words, call):
        old, new = self._at(words[0], words[1]), self._at(words[2], words[3])
        if not old or not new:
            raise AssertionError(f"a rename out of or into the folder: {call}")
        node = self.names[old[0]][old[1]]
        other = self.names[new[0]].get(new[1]) if "RENAME_EXCHANGE" in call else None
        self._change(call, (*old, other), (*new, node))

    _renameat = _renameat2

    def _write(self, words, call):
        node = self._find(_path_of(words[0]))
        if node and node.kind == "file":
            node.content += _text(words[1])
            node.written = True
            self.steps.append(Step("data", (node, node.content), call))

    def _pwrite64(self, words, call):
        node, data, at = self._find(_path_of(words[0])), _text(words[1]), int(words[3])
        if node:
            node.content = node.content[:at].ljust(at, b"\0") + data + node.content[at + len(data):]
            node.written = True
            self.steps.append(Step("data", (node, node.content), call[:200]))

    def _ftruncate(self, words, call):
        node = self._find(_path_of(words[0]))
        if node:
            node.content = node.content[:int(words[1])]
            self.steps.append(Step("data", (node, node.content), call))

    def _fchmod(self, words, _call):
        node = self._find(_path_of(words[0]))
        if node:
            node.mode = int(words[1], 8)

    def _fsync(self, words, call):
        node = self._find(_path_of(words[0]))
        if node:
            self.steps.append(Step("sync", node, call))

    _fdatasync = _fsync

    def take_contents(self):
        """What the workers wrote through descriptors that they were given, from the disk as it is now."""
        def walk(folder, path):
            for name, node in self.names[folder].items():
                if node.kind == "folder":
                    walk(node, path / name)
                elif node.kind == "file" and not node.written and not node.content and (path / name).is_file():
                    node.content = (path / name).read_bytes()
        walk(self.top, self.root)

    def path_of(self, wanted):
        """Where a node is at the end, or was last, for people."""
        found = [(self.top, "")]
        for folder, path in found:
            if folder is wanted:
                return path or "."
            found += [(node, f"{path}/{name}") for name, node in self.names.get(folder, {}).items()]
        paths = dict(found)
        return next((f"{paths[folder]}/{name}" for step in reversed(self.steps) if step.kind == "name"
                     for folder, name, node in step.what if node is wanted and folder in paths), "what was there before")

    # --- the states

    def states(self):
        """Every state that a power cut may leave, as {path: (kind, mode, content or target)}, with what it stands for."""
        seen = set()
        for end in range(len(self.steps) + 1):
            for words, names, kept in self._choices(end):
                tree = self._tree(end, names, kept)
                key = hashlib.sha256(repr(sorted(tree.items())).encode()).digest()
                if key not in seen:
                    seen.add(key)
                    yield f"before call {end}, {words}", tree

    def at(self, end):
        """The folder as programs see it before call `end`: what is there where a process dies and the machine goes on."""
        return self._tree(end, {i for i in range(end) if self.steps[i].kind == "name"}, True)

    def without(self, left_out):
        """The same folder, as if the steps of these numbers had not been made."""
        other = copy.copy(self)
        other.steps = [step for i, step in enumerate(self.steps) if i not in left_out]
        return other

    def writes_of(self, folder):
        """What was put in place in a folder, or removed from it: [(its content or None, the numbers of all steps that it took)]."""
        place, found = self._find(str(self.root / folder)), []
        for i, step in enumerate(self.steps):
            if step.kind != "name" or not all(where is place for where, _, _ in step.what):
                continue
            name, node = next((name, node) for _, name, node in reversed(step.what))
            if name.startswith("."):
                continue
            own = {k for k, other in enumerate(self.steps[:i]) if node and self._is_about(other, node)}
            after = next((k for k in range(i, len(self.steps)) if self.steps[k] == ("sync", place, self.steps[k].call)), i)
            found.append((node and node.content, own | {i, after}))
        return found

    @staticmethod
    def _is_about(step, node):
        if step.kind == "name":
            return any(what is node for _, _, what in step.what)
        return (step.what[0] if step.kind == "data" else step.what) is node

    def _choices(self, end):
        """(words, which changes of names are there, are contents that were not synced there)"""
        steps = self.steps[:end]
        changes = [i for i, step in enumerate(steps) if step.kind == "name"]
        certain = {i for i in changes if any(
            step.kind == "sync" and any(step.what is folder for folder, _, _ in steps[i].what) for step in steps[i:])}
        open_ones = [i for i in changes if i not in certain]
        yield "all is there", certain | set(open_ones), True
        yield "names without contents", certain | set(open_ones), False
        yield "only what is safe", certain, False
        for i in open_ones:
            yield f"of what is not safe only call {i}", certain | {i}, True
            yield f"of what is not safe only call {i}, without contents", certain | {i}, False
            yield f"all but call {i}", certain | set(open_ones) - {i}, True

    def _tree(self, end, chosen, kept):
        names = {folder: dict(entries) for folder, entries in self.before.items()}
        contents = dict(self.safe)
        latest = dict(self.safe)
        for i, step in enumerate(self.steps[:end]):
            if step.kind == "name" and i in chosen:
                for folder, name, node in step.what:
                    if node:
                        names[folder][name] = node
                    else:
                        names[folder].pop(name, None)
            elif step.kind == "data":
                latest[step.what[0]] = step.what[1]
            elif step.kind == "sync" and step.what.kind == "file":
                node = step.what
                contents[node] = latest.get(node, b"") if node.written or node in self.safe else node.content
        tree = {}
        self._flatten(names, self.top, "", tree, latest if kept else contents, kept)
        return tree

    def _flatten(self, names, folder, path, tree, contents, kept):
        for name, node in names[folder].items():
            if node.kind == "folder":
                tree[path + name] = ("folder", node.mode, None)
                self._flatten(names, node, path + name + "/", tree, contents, kept)
            elif node.kind == "link":
                tree[path + name] = ("link", 0, node.target)
            else:
                content = contents.get(node, b"" if node.written or not kept else node.content)
                tree[path + name] = ("file", node.mode, content)


def lay(root, tree):
    """Makes the folder what the state says; the folder itself stays."""
    root = pathlib.Path(root)
    for folder, folders, files in os.walk(root, topdown=False):
        for name in files:
            os.unlink(os.path.join(folder, name))
        for name in folders:
            path = os.path.join(folder, name)
            os.unlink(path) if os.path.islink(path) else os.rmdir(path)
    for path, (kind, mode, what) in sorted(tree.items()):
        if kind == "folder":
            (root / path).mkdir()
            (root / path).chmod(mode)
        elif kind == "link":
            os.symlink(what, root / path)
        else:
            (root / path).write_bytes(what)
            (root / path).chmod(mode)
