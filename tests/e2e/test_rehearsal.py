"""A rehearsal starts a second Apache beside the one that serves. Modules that keep sockets, shared memory and processes of their
own (mod_cgid, shmcb, piped logs), and php-fpm behind mod_proxy_fcgi, must not notice: what the live server has stays as it was, and requests meanwhile succeed."""
import glob
import http.client
import json
import os
import pathlib
import ssl
import subprocess
import threading
import unittest

from case import Case, main
from harness import Run
from processes import children_of, wait_until
from webserver import APACHE_MODULES

MODULES = """
LoadModule cgid_module {modules}/mod_cgid.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_fcgi_module {modules}/mod_proxy_fcgi.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so
ScriptSock {folder}/cgid.sock
Mutex file:{folder}
CustomLog "|/usr/bin/tee -a {folder}/piped.log" "%U %>s"
"""


PHP = """[global]
error_log = {folder}/php.log
[www]
listen = {folder}/php.sock
listen.mode = 0666
user = nobody
group = nogroup
pm = static
pm.max_children = 2
"""


class Visitor(threading.Thread):
    """CGI and PHP requests in turn over new connections, until told to stop."""
    paths = ("/cgi/hello", "/php/hello.php")

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.over, self.good, self.bad = port, threading.Event(), 0, []
        self.context = ssl._create_unverified_context()

    def ask(self, path="/cgi/hello"):
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=self.context)
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def run(self):
        while not self.over.is_set():
            try:
                status, text = self.ask(self.paths[self.good % 2])
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
        (scripts / "hello.php").write_text('<?php echo "hello\\n";')
        php = f'ProxyPassMatch "^/php/(.*)$" "unix:{run.folder}/php.sock|fcgi://localhost{scripts}/$1"'
        text = text.replace("RewriteRule ^ -", f"ScriptAlias /cgi/ {scripts}/\n    {php}\n    RewriteRule !^/(cgi|php)/ -")
        config.write_text(text)
        return apache

    def start_php(self, run):
        programs = sorted(glob.glob("/usr/sbin/php-fpm*"))
        if not programs:
            self.skipTest("there is no php-fpm")
        config = run.folder / "php-fpm.conf"
        config.write_text(PHP.format(folder=run.folder))
        php = subprocess.Popen([programs[-1], "-n", "-F", "-y", str(config)], cwd="/", stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
        run.at_end(lambda: (php.terminate(), php.wait()))
        wait_until("php-fpm listens", (run.folder / "php.sock").exists)
        return php

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
            php = self.start_php(run)
            run.agent.start()
            run.begin()
            visitor = Visitor(apache.port)
            children = children_of(apache.pid())  # before the first request: a script that ends is no loss
            for path in visitor.paths:
                self.assertEqual(visitor.ask(path), (200, "hello\n"))
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
                       lambda: (apache.folder / "piped.log").read_text().count(" 200") == visitor.good + 2)
            self.assertIsNone(php.poll())
            # and the swap with the same modules
            pair = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", "--name", "shop", *pair.files()), 0)
            self.assertTrue(run.serves(pair))
            self.assertEqual(apache.pid(), before[-1])
            self.assertEqual(visitor.ask(), (200, "hello\n"))

    def test_logs_that_lie_elsewhere(self):
        # as hosters have them: beside each site
        with Run("logs", servers=("apache",)) as run:
            apache = run.servers[0]
            logs = pathlib.Path(run.folder) / "site" / "logs"
            logs.mkdir(parents=True)
            (logs / "access.log").write_text("a line of a large log\n" * 5000)
            (logs / "ca.pem").write_text(pathlib.Path(run.ca.root).read_text() * 200)  # as large, and needed
            config = pathlib.Path(apache.config)
            config.write_text(config.read_text().replace("SSLEngine on", f"SSLEngine on\nSSLCACertificateFile {logs}/ca.pem") + f"""
                <VirtualHost 127.0.0.1:{apache.port}>
                ServerName other.example.test
                ErrorLog {logs}/error.log
                CustomLog {logs}/access.log "%h"
                </VirtualHost>""")
            run.agent.start()
            run.begin()
            before = {path: path.stat().st_size for path in logs.iterdir()}
            pair = run.ca.issue(run.names)
            self.assertExit(run.agent.ctl("submit", *pair.files()), 0)
            self.assertNotIn("rehearsal-skipped", run.agent.log())
            self.assertTrue(run.serves(pair))
            self.assertEqual({path: path.stat().st_size for path in logs.iterdir()}, before)


main()
