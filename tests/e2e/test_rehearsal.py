"""A rehearsal starts a second Apache beside the one that serves. Modules that keep sockets, shared memory and processes of their
own (mod_cgid, shmcb, piped logs) must not notice: what the live server has stays as it was, and requests meanwhile succeed."""
import http.client
import json
import os
import pathlib
import ssl
import threading
import unittest

from case import Case, main
from harness import Run
from processes import children_of, wait_until
from webserver import APACHE_MODULES

MODULES = """
LoadModule cgid_module {modules}/mod_cgid.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so
ScriptSock {folder}/cgid.sock
Mutex file:{folder}
CustomLog "|/usr/bin/tee -a {folder}/piped.log" "%U %>s"
"""


class Visitor(threading.Thread):
    """CGI requests over new connections, until told to stop."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.over, self.good, self.bad = port, threading.Event(), 0, []
        self.context = ssl._create_unverified_context()

    def ask(self):
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=self.context)
        connection.request("GET", "/cgi/hello")
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def run(self):
        while not self.over.is_set():
            try:
                status, text = self.ask()
                if (status, text) != (200, "hello\n"):
                    self.bad.append((status, text))
                self.good += 1
            except OSError as error:
                self.bad.append(error)

    def stop(self):
        self.over.set()
        self.join(15)


@unittest.skipIf(os.geteuid(), "a rehearsal needs root")
class Rehearsal(Case):
    def prepare(self, run):
        apache = run.by_kind["apache"]
        config, scripts = pathlib.Path(apache.config), run.folder / "cgi"
        scripts.mkdir()
        (scripts / "hello").write_text("#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nhello\\n'\n")
        (scripts / "hello").chmod(0o755)
        text = config.read_text()
        text = text.replace("SSLSessionCache none", f"SSLSessionCache shmcb:{apache.folder}/sessions(512000)")
        text = text.replace("Listen ", MODULES.format(modules=APACHE_MODULES, folder=apache.folder) + "\nListen ", 1)
        text = text.replace("RewriteRule ^ -", f"ScriptAlias /cgi/ {scripts}/\n    RewriteRule !^/cgi/ -")
        config.write_text(text)
        return apache

    def state(self, apache):
        """What a second server could have touched: sockets and files with their inodes, shared memory."""
        files = {path.name: (path.stat().st_ino, path.stat().st_mode) for path in pathlib.Path(apache.folder).iterdir()
                 if path.name not in ("error.log", "piped.log")}
        segments = [line for line in pathlib.Path("/proc/sysvipc/shm").read_text().splitlines()
                    if str(apache.pid()) in line.split()]
        return files, segments, apache.pid()

    def test_live_server_notices_nothing(self):
        with Run("rehearsal", servers=("apache",)) as run:
            apache = self.prepare(run)
            run.agent.start()
            run.begin()
            visitor = Visitor(apache.port)
            children = children_of(apache.pid())  # before the first request: a script that ends is no loss
            self.assertEqual(visitor.ask(), (200, "hello\n"))
            errors = pathlib.Path(apache.folder) / "error.log"
            before, said = self.state(apache), errors.read_text()
            visitor.start()
            run.at_end(visitor.stop)
            done = run.agent.ctl("drill", "shop", "--json")
            server = next(i for i in json.loads(done.stdout)["items"] if i["what"] == "server apache")
            if not server["text"].startswith("the rehearsal passes"):
                self.skipTest("no rehearsal here: " + server["text"])
            many = visitor.good
            wait_until("more requests", lambda: visitor.good > many + 5)
            visitor.stop()
            self.assertEqual(visitor.bad, [])
            self.assertEqual(self.state(apache), before)
            self.assertLessEqual(set(children), set(children_of(apache.pid())))
            self.assertEqual(errors.read_text(), said)
            wait_until("each request is in the piped log",
                       lambda: (apache.folder / "piped.log").read_text().count("/cgi/hello 200") == visitor.good + 1)
            # and the swap with the same modules
            pair = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            self.assertTrue(run.serves(pair))
            self.assertEqual(apache.pid(), before[-1])
            self.assertEqual(visitor.ask(), (200, "hello\n"))


main()
