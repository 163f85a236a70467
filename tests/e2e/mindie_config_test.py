"""latent8 serve --config: what the file decides, TLS, and the limits of a server."""
import contextlib
import http.client
import json
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path

import serve_test
import support
from mindie_server import QUESTION, SAMPLE, MindieServer, sample, wait_until


class Operation(unittest.TestCase):
    def test_the_verbatim_file_is_one_error_that_lists_everything(self):
        message = support.run("serve", "--config", SAMPLE, expect=1)

        for part in ("worldSize", "ModelConfig[0].tp", "moe_ep", "ServerConfig.httpsEnabled", "server.pem", "--adapt"):
            self.assertIn(part, message)

    def test_adapt_serves_what_was_refused(self):
        config = sample()
        config["BackendConfig"]["ModelDeployConfig"]["ModelConfig"][0].update(worldSize=8, tp=8, dp=2, moe_ep=4, moe_tp=4)
        server = MindieServer(config, "--adapt")
        try:
            self.assertIn("--adapt: 'BackendConfig.ModelDeployConfig.ModelConfig[0].worldSize': 1 instead of 8", "".join(server.log))
            server.post("/generate", {"inputs": QUESTION, "parameters": {"max_new_tokens": 1}})
        finally:
            self.assertEqual(server.stop(), 0)

    def test_flags_go_before_the_file(self):
        server = MindieServer(sample(), "--served-model-name", "mine", "--max-prompt-tokens", "4")
        try:
            self.assertEqual(server.ask("GET", "/v1/models")[1]["data"][0]["id"], "mine")
            server.post("/generate", {"inputs": "a long question, longer than that"}, expect=422)
        finally:
            server.stop()

    def test_truncation_cuts_long_prompts(self):
        config = sample()
        config["BackendConfig"]["ModelDeployConfig"].update(maxInputTokenLen=8, truncation=1)
        server = MindieServer(config)
        try:
            body = {"inputs": "key " * 500, "parameters": {"max_new_tokens": 1, "details": True}}
            self.assertEqual(server.post("/generate", body)["details"]["prompt_tokens"], 8)
        finally:
            server.stop()

    def test_an_answer_that_takes_too_long_is_ended(self):
        config = sample()
        config["ServerConfig"]["e2eTimeout"] = 1
        config["BackendConfig"]["ModelDeployConfig"]["maxSeqLen"] = 4096
        config["BackendConfig"]["ScheduleConfig"]["maxIterTimes"] = 4096
        server = MindieServer(config)
        try:
            body = {"prompt": QUESTION, "max_tokens": 4000, "ignore_eos": True}
            threads = [threading.Thread(target=server.ask, args=("POST", "/v1/completions", body)) for _ in range(7)]
            for thread in threads:
                thread.start()
            status, reply, _ = server.ask("POST", "/v1/completions", body)
            for thread in threads:
                thread.join()
            self.assertEqual((status, reply["error"]["message"]), (500, "the time for this answer is over"))
        finally:
            server.stop()

    def test_stop_service_waits_for_answers_and_ends_the_process(self):
        server = MindieServer(sample())
        replies = []
        body = {"prompt": QUESTION, "max_tokens": 200, "ignore_eos": True}
        thread = threading.Thread(target=lambda: replies.append(server.post("/v1/completions", body)))
        thread.start()
        wait_until(lambda: server.at("metricsPort").metric("num_requests_running") > 0)

        status = server.at("managementPort").ask("GET", "/stopService")[0]

        thread.join()
        self.assertEqual(status, 200)
        self.assertEqual(replies[0]["usage"]["completion_tokens"], 200)
        self.assertEqual(server.process.wait(timeout=60), 0)

    def test_pages_of_other_origins_may_ask_only_where_they_are_named(self):
        server = serve_test.Server("--cors-origin", "https://a.example", "--api-key", "secret", "--log-format", "json")
        try:
            asks = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
            status, _, headers = server.ask("OPTIONS", "/v1/completions", headers=asks)
            self.assertEqual((status, headers["access-control-allow-origin"]), (204, "https://a.example"))
            self.assertEqual(server.ask("OPTIONS", "/v1/completions", headers={**asks, "Origin": "https://b.example"})[0], 401)
            reply = server.ask("GET", "/v1/models", headers={"Origin": "https://a.example", "X-Api-Key": "secret", "X-Request-Id": "r1"})
            self.assertEqual(reply[2]["access-control-allow-origin"], "https://a.example")
            self.assertNotIn("access-control-allow-origin", server.ask("GET", "/health")[2])
        finally:
            server.stop()
        server.reader.join(timeout=10)
        lines = [json.loads(line) for line in server.log]
        self.assertEqual([l["status"] for l in lines if l.get("request_id") == "r1"], [200])

    def test_a_queue_full_of_tokens_is_told_429(self):
        server = serve_test.Server("--max-num-seqs", "1", "--max-queued-tokens", "40")
        try:
            body = {"prompt": "key " * 30, "max_tokens": 400, "ignore_eos": True}
            under_way = server.connection()
            under_way.request("POST", "/v1/completions", json.dumps({**body, "stream": True}))
            stream = under_way.getresponse()
            serve_test.read_events(stream, 1)  # its prompt waits no more
            second = threading.Thread(target=server.ask, args=("POST", "/v1/completions", {**body, "max_tokens": 1}))
            second.start()
            wait_until(lambda: server.metric("latent8_num_requests_waiting") == 1)
            status, reply, headers = server.ask("POST", "/v1/completions", body)
            stream.close()
            under_way.close()
            second.join()
            self.assertEqual((status, reply["error"]["code"]), (429, "queue_full"))
            self.assertIn("retry-after", headers)
        finally:
            server.stop()


    def test_a_request_that_is_refused_in_part_leaves_nothing_running(self):
        server = serve_test.Server("--max-num-seqs", "1", "--max-queue", "4")
        try:
            busy = server.connection()
            long = {"prompt": "key", "max_tokens": 8000, "ignore_eos": True, "stream": True}
            busy.request("POST", "/v1/completions", json.dumps(long))
            serve_test.read_events(stream := busy.getresponse(), 1)
            for more in ({}, {"stream": True}):
                one = server.connection()
                one.request("POST", "/v1/completions", json.dumps({**long, "stream": False}))
                wait_until(lambda: server.metric("latent8_num_requests_waiting") == 1)
                status, _, headers = server.ask("POST", "/v1/completions", {"prompt": ["a", "b"], "n": 2, **more})
                self.assertEqual(status, 429)
                self.assertIn("retry-after", headers)
                one.close()
                wait_until(lambda: server.metric("latent8_num_requests_waiting") == 0)
            stream.close()
            busy.close()
            reply = server.post("/v1/completions", {"prompt": ["a", "b", "c"], "n": 2}, expect=400)
            self.assertEqual(reply["error"]["param"], "n")
        finally:
            server.stop()


@unittest.skipUnless(shutil.which("openssl"), "openssl is not installed")
class Tls(unittest.TestCase):
    """Its documents ask for certificates of both sides."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.made = Path(cls.folder.name)
        run = lambda *a: subprocess.run(["openssl", *map(str, a)], check=True, capture_output=True, cwd=cls.made)
        run("req", "-x509", "-newkey", "rsa:3072", "-nodes", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2")
        for name in ("server", "client"):
            run("req", "-newkey", "rsa:3072", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-addext", "subjectAltName=IP:127.0.0.1,IP:127.0.0.2")
            run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-copy_extensions", "copy",
                "-out", f"{name}.pem", "-days", "2")
        run("x509", "-req", "-in", "client.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "revoked.pem", "-days", "2")
        (cls.made / "ca.cnf").write_text("[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ndefault_md=sha256\ndefault_crl_days=2\n")
        (cls.made / "index.txt").touch()
        of_ca = ("-config", "ca.cnf", "-keyfile", "ca.key", "-cert", "ca.pem")
        run("ca", *of_ca, "-revoke", "revoked.pem")
        run("ca", *of_ca, "-gencrl", "-out", "crl.pem")
        run("rsa", "-aes256", "-passout", "pass:pass word", "-in", "server.key", "-out", "locked.key")
        (cls.made / "key_pwd.txt").write_text("pass word\n")

    def context(self, with_client, certificate="client.pem"):
        context = ssl.create_default_context(cafile=self.made / "ca.pem")
        if with_client:
            context.load_cert_chain(self.made / certificate, self.made / "client.key")
        return context

    def tls_config(self):
        config = sample()
        server_config = config["ServerConfig"]
        server_config["httpsEnabled"] = True
        server_config["tlsCaPath"] = str(self.made)
        for prefix in ("tls", "managementTls", "metricsTls"):
            server_config.update({prefix + "CaFile": ["ca.pem"], prefix + "Cert": str(self.made / "server.pem"),
                                  prefix + "Pk": str(self.made / "server.key")})
            for key in (prefix + "CrlPath", prefix + "CrlFiles", prefix + "PkPwd"):
                server_config.pop(key, None)
        return config

    def refused(self, server):
        with self.assertRaises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            server.ask("GET", "/v1/models")

    def certificate(self, server):
        """What the server shows, by number."""
        with contextlib.closing(server.connection()) as connection:
            connection.connect()
            return connection.sock.getpeercert()["serialNumber"]

    def test_a_locked_key_revoked_clients_and_files_that_change(self):
        config = self.tls_config()
        shown = self.made / "shown.pem"
        shutil.copy(self.made / "server.pem", shown)
        config["ServerConfig"].update(tlsCert=str(shown), tlsPk=str(self.made / "locked.key"), tlsPkPwd=str(self.made / "key_pwd.txt"),
                                      tlsCrlPath=str(self.made), tlsCrlFiles=["crl.pem"])
        server = MindieServer(config)
        try:
            server.tls = self.context(with_client=True, certificate="revoked.pem")
            self.refused(server)
            server.tls = self.context(with_client=True)
            first = self.certificate(server)
            subprocess.run(["openssl", "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                            "-copy_extensions", "copy", "-out", "shown.pem", "-days", "2"], check=True, capture_output=True, cwd=self.made)
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: self.certificate(server) != first)
            second = self.certificate(server)
            shown.write_text("nothing")
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: "shown.pem" in "".join(server.log))  # what is wrong with it
            self.assertEqual(self.certificate(server), second)
        finally:
            self.assertEqual(server.stop(signal.SIGTERM), 0)

    def test_a_locked_key_without_its_password_is_named(self):
        config = self.tls_config()
        config["ServerConfig"]["tlsPk"] = str(self.made / "locked.key")
        file = self.made / "config.json"
        file.write_text(json.dumps(config))

        self.assertIn("locked.key", support.run("serve", "--config", file, expect=1))

    def test_all_three_ports_want_a_client_certificate(self):
        server = MindieServer(self.tls_config())
        try:
            server.tls = self.context(with_client=True)
            self.assertEqual(server.ask("GET", "/v1/models")[0], 200)
            self.assertEqual(server.at("managementPort").ask("GET", "/v2/health/live")[0], 200)
            self.assertEqual(server.at("metricsPort").ask("GET", "/metrics")[0], 200)
            server.tls = self.context(with_client=False)
            self.refused(server)
        finally:
            self.assertEqual(server.stop(signal.SIGTERM), 0)


if __name__ == "__main__":
    unittest.main()
