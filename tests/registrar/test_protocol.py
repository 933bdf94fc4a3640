# SPDX-License-Identifier: BSD-2-Clause
"""The registrar's dialogues over a raw UDP socket: RFC 3261 section 10, and what hostile senders send.

    test_protocol.py REGISTRAR
"""
import os
import random
import socket
import sys
import time
import unittest

from sip import Client, Registrar, wait_for

PROGRAM = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else os.environ["REGISTRAR"]


class Case(unittest.TestCase):
    """One registrar for all cases of a class; each case has an address of record of its own."""
    options = ("--workers", "2", "--sweep", "100")

    @classmethod
    def setUpClass(cls):
        cls.registrar = Registrar(PROGRAM, *cls.options)

    @classmethod
    def tearDownClass(cls):
        complaints = cls.registrar.complaints()
        code = cls.registrar.stop()
        assert code == 0, f"exit code {code}: {complaints}"
        assert not complaints, complaints

    def setUp(self):
        self.client = self.registrar.client()
        self.user = self.id().split(".")[-1]

    def tearDown(self):
        self.assertEqual(self.client.options().status, 200)
        self.client.close()

    def register(self, contacts, **more):
        return self.client.register(contacts, user=self.user, **more)

    def query(self):
        return self.client.query(self.user).contacts()


class Register(Case):
    def test_one_contact_is_registered_and_listed(self):
        reply = self.register("<sip:a@10.0.0.1>")
        self.assertEqual((reply.status, reply.reason), (200, "OK"))
        self.assertEqual(reply.contacts(), {"sip:a@10.0.0.1": 3600})
        self.assertEqual(list(self.query()), ["sip:a@10.0.0.1"])

    def test_several_contacts_each_with_its_own_expiry(self):
        reply = self.register(["<sip:a@10.0.0.1>;expires=100, \"B, <b>\" <sip:b@10.0.0.2;transport=tcp>;q=0.5",
                               "sip:c@10.0.0.3;expires=300"], headers=["Expires: 200"])
        self.assertEqual(reply.contacts(), {"sip:a@10.0.0.1": 100, "sip:b@10.0.0.2;transport=tcp": 200,
                                            "sip:c@10.0.0.3": 300})
        self.assertIn("<sip:b@10.0.0.2;transport=tcp>;q=0.5;expires=200", reply.headers["contact"])

    def test_a_parameter_is_stronger_than_the_header_and_the_header_than_the_default(self):
        self.assertEqual(self.register("<sip:a@h>;expires=90", headers=["Expires: 80"]).contacts()["sip:a@h"], 90)
        self.assertEqual(self.register("<sip:a@h>", cseq=2, headers=["Expires: 80"]).contacts()["sip:a@h"], 80)
        self.assertEqual(self.register("<sip:a@h>", cseq=3).contacts()["sip:a@h"], 3600)

    def test_too_long_is_cut_and_malformed_is_an_hour(self):
        self.assertEqual(self.register("<sip:a@h>;expires=99999999999999999999").contacts()["sip:a@h"], 7200)
        self.assertEqual(self.register("<sip:a@h>;expires=soon", cseq=2).contacts()["sip:a@h"], 3600)
        self.assertEqual(self.register("<sip:a@h>", cseq=3, headers=["Expires: -1"]).contacts()["sip:a@h"], 3600)

    def test_too_brief_is_423_and_nothing_changes(self):
        reply = self.register(["<sip:a@h>;expires=100", "<sip:b@h>;expires=59"])
        self.assertEqual(reply.status, 423)
        self.assertEqual(reply.one("min-expires"), "60")
        self.assertEqual(self.query(), {})

    def test_a_refresh_takes_the_place_of_what_was(self):
        self.register("<sip:a@h>;expires=100;q=0.1")
        reply = self.register("<sip:a@H>;expires=200;q=0.2", cseq=2)
        self.assertEqual(reply.headers["contact"], ["<sip:a@H>;q=0.2;expires=200"])

    def test_expires_0_removes_one(self):
        self.register(["<sip:a@h>", "<sip:b@h>"])
        self.assertEqual(list(self.register("<sip:a@h>;expires=0", cseq=2).contacts()), ["sip:b@h"])
        self.assertEqual(self.register("<sip:b@h>", cseq=3, headers=["Expires: 0"]).contacts(), {})
        self.assertEqual(self.register("<sip:stranger@h>;expires=0", cseq=4).contacts(), {})

    def test_star_removes_all(self):
        self.register(["<sip:a@h>", "<sip:b@h>"])
        self.register("<sip:c@h>", call_id="c2")
        self.assertEqual(self.register("*", cseq=2, headers=["Expires: 0"]).contacts(), {})
        self.assertEqual(self.query(), {})

    def test_star_without_expires_0_or_with_company_is_400(self):
        self.register("<sip:a@h>")
        self.assertEqual(self.register("*", cseq=2).status, 400)
        self.assertEqual(self.register("*", cseq=3, headers=["Expires: 60"]).status, 400)
        self.assertEqual(self.register(["*", "<sip:a@h>"], cseq=4, headers=["Expires: 0"]).status, 400)
        self.assertEqual(self.register("<sip:a@h>, *", cseq=5, headers=["Expires: 0"]).status, 400)
        self.assertEqual(list(self.query()), ["sip:a@h"])

    def test_an_older_cseq_of_the_same_call_is_refused_whole(self):
        self.register("<sip:a@h>", cseq=10)
        self.assertEqual(self.register(["<sip:new@h>", "<sip:a@h>;expires=100"], cseq=10).status, 500)
        self.assertEqual(self.register(["<sip:new@h>", "<sip:a@h>;expires=100"], cseq=9).status, 500)
        self.assertEqual(self.register("*", cseq=9, headers=["Expires: 0"]).status, 500)
        self.assertEqual(list(self.query()), ["sip:a@h"])
        self.assertEqual(self.register("<sip:a@h>;expires=100", cseq=1, call_id="c2").contacts()["sip:a@h"], 100)

    def test_a_late_older_request_does_not_bring_back_what_was_removed(self):
        self.register("<sip:a@h>", cseq=1)
        self.register("<sip:a@h>;expires=0", cseq=3)
        self.assertEqual(self.register("<sip:a@h>", cseq=2).status, 500)
        self.assertEqual(self.query(), {})
        self.assertEqual(self.register("<sip:a@h>", cseq=4).status, 200)

    def test_a_retransmission_is_answered_the_same_and_does_nothing(self):
        packet = self.client.request("REGISTER", self.user, "c1", 1, headers=["Contact: <sip:a@h>;expires=100"])
        first = self.client.ask(packet)
        self.assertEqual(self.client.ask(packet).text, first.text)
        self.register("<sip:a@h>;expires=0", cseq=2)
        self.assertEqual(self.client.ask(packet).text, first.text)
        self.assertEqual(self.query(), {})

    def test_the_same_address_however_it_is_written(self):
        self.register("<sip:a@h>", to="To: \"A\" <SIP:%61lice%32:secret@EXAMPLE.com;user=phone>")
        reply = self.client.ask(self.client.request(to="t: sip:alice2@example.com"))
        self.assertEqual(list(reply.contacts()), ["sip:a@h"])
        reply = self.client.ask(self.client.request(to="To: <sip:Alice2@example.com>"))
        self.assertEqual(reply.contacts(), {})

    def test_contacts_are_compared_as_addresses(self):
        self.register("<sip:%61@H;transport=UDP;foo=1>", cseq=1)
        self.assertEqual(list(self.register("<sip:a@h;transport=udp>", cseq=2).contacts()), ["sip:a@h;transport=udp"])
        self.assertEqual(len(self.register("<sip:a@h>", cseq=3).contacts()), 2)
        self.assertEqual(len(self.register("<sip:a@h:5060>", cseq=4).contacts()), 3)
        self.assertEqual(len(self.register("<sip:A@h>", cseq=5).contacts()), 4)

    def test_no_more_contacts_than_allowed(self):
        for i in range(16):
            self.assertEqual(self.register(f"<sip:a{i}@h>", cseq=i + 1).status, 200)
        self.assertEqual(self.register("<sip:one-more@h>", cseq=20).status, 503)
        self.assertEqual(self.register("<sip:a3@h>;expires=0", cseq=21).status, 200)
        self.assertEqual(self.register("<sip:one-more@h>", cseq=22).status, 200)
        self.assertEqual(len(self.query()), 16)

    def test_other_parameters_of_a_contact_come_back(self):
        reply = self.register('<sip:a@h>;+sip.instance="<urn:uuid:1;2,3>";expires=100;methods="INVITE,BYE"')
        self.assertEqual(reply.headers["contact"],
                         ['<sip:a@h>;+sip.instance="<urn:uuid:1;2,3>";methods="INVITE,BYE";expires=100'])

    def test_bad_contacts_are_400(self):
        for i, contact in enumerate(["<sip:a@h", "sip:a@h>", "<>", "<tel:+1>", "\"A <sip:a@h>", "<sip:a@>", "<sip:a@h:0>",
                                     "<sip:a@h:65536>", "<sip:@h>", "<sip:%4@h>", "<sip:a@h>;q=2", "<sip:a@h>;q=0.1234",
                                     "<sip:a b@h>", "a@h", "<sip:" + "x" * 3000 + "@h>", ", <sip:a@h>"]):
            with self.subTest(contact=contact[:40]):
                self.assertEqual(self.register(contact, cseq=i + 1).status, 400)
        self.assertEqual(self.query(), {})


class Expiry(Case):
    options = ("--workers", "2", "--sweep", "50", "--min-expires", "1", "--remember", "1")

    def test_contacts_expire_one_by_one_and_their_memory_goes(self):
        self.register(["<sip:a@h>;expires=1", "<sip:b@h>;expires=2"])
        time.sleep(1.1)
        self.assertEqual(list(self.query()), ["sip:b@h"])
        wait_for(lambda: not self.query(), 3)
        wait_for(lambda: self.client.options().count("records") == 0, 3)
        self.assertEqual(self.register("<sip:a@h>;expires=1", cseq=1).status, 200)


class Exhausted(Case):
    options = ("-m", "1", "--workers", "2", "--sweep", "50", "--remember", "0", "--min-expires", "1", "--buckets", "64")

    def test_a_full_pool_is_500_and_what_was_registered_stays(self):
        users = 0
        while True:
            reply = self.client.register("<sip:a@h>;expires=1000", user=f"user{users}")
            if reply.status != 200:
                break
            users += 1
            self.assertLess(users, 50000)
        self.assertEqual((reply.status, reply.contacts()), (500, {}))
        self.assertGreater(users, 1000)
        for user in (0, users // 2, users - 1):
            self.assertEqual(len(self.client.query(f"user{user}").contacts()), 1)
        self.assertEqual(self.client.query(f"user{users}").contacts(), {})
        self.assertEqual(self.client.register("*", user="user7", cseq=2, headers=["Expires: 0"]).status, 200)
        self.assertEqual(self.client.query("user7").contacts(), {})
        self.assertEqual(self.client.register("<sip:a@h>", user="late").status, 200)


class Messages(Case):
    def test_compact_forms_odd_case_and_folded_lines(self):
        packet = (f"REGISTER sip:example.com SIP/2.0\r\nv:  SIP / 2.0 / UDP\r\n 127.0.0.1 : {self.client.port}\r\n\t;branch=z9hG4bKf\r\n"
                  "f: \"F\" <sip:f@example.com>\r\n ;tag=1\r\nT: <sip:folded@example.com>\r\ni : c1\r\ncSEQ: 0001\r\n REGISTER\r\n"
                  "M: <sip:a@h>,\r\n <sip:b@h>\r\nEXPIRES: 100\r\nl: 0\r\n\r\n").encode()
        reply = self.client.ask(packet)
        self.assertEqual(reply.contacts(), {"sip:a@h": 100, "sip:b@h": 100})
        self.assertIn("branch=z9hG4bKf", reply.one("via"))

    def test_bare_line_feeds_and_leading_empty_lines(self):
        packet = b"\r\n\r\n" + self.client.request("OPTIONS").replace(b"\r\n", b"\n")
        self.assertEqual(self.client.ask(packet).status, 200)

    def test_received_and_rport_tell_where_it_came_from(self):
        reply = self.client.ask(self.client.request("OPTIONS", via="Via: SIP/2.0/UDP far.example.com;rport;branch=z9hG4bKr"))
        self.assertEqual(reply.one("via"), f"SIP/2.0/UDP far.example.com;branch=z9hG4bKr;received=127.0.0.1;rport={self.client.port}")

    def test_a_forged_received_is_replaced(self):
        reply = self.client.ask(self.client.request(
            "OPTIONS", via="Via: SIP/2.0/UDP 10.0.0.9;received=10.0.0.8;rport=9;maddr=10.0.0.7;branch=z9hG4bKr"))
        self.assertIn("received=127.0.0.1", reply.one("via"))
        self.assertNotIn("10.0.0.8", reply.one("via"))

    def test_without_rport_the_reply_goes_to_the_port_of_via(self):
        other = Client(self.registrar.port)
        self.client.send(self.client.request("OPTIONS", via=f"Via: SIP/2.0/UDP 127.0.0.1:{other.port};branch=z9hG4bKo"))
        self.assertEqual(other.receive().status, 200)
        other.close()

    def test_all_vias_are_copied_in_order(self):
        via = f"Via: SIP/2.0/UDP 127.0.0.1:{self.client.port};branch=z9hG4bK1, SIP/2.0/TCP b.example.com;branch=z9hG4bK2"
        reply = self.client.ask(self.client.request("OPTIONS", via=via, headers=["v: SIP/2.0/UDP c.example.com"]))
        self.assertEqual([v.split()[1].split(";")[0] for v in ", ".join(reply.headers["via"]).split(", ")],
                         [f"127.0.0.1:{self.client.port}", "b.example.com", "c.example.com"])

    def test_to_gets_a_tag_and_keeps_one(self):
        reply = self.client.ask(self.client.request("OPTIONS"))
        self.assertRegex(reply.one("to"), r"^<sip:alice@example.com>;tag=[0-9a-f]{16}$")
        reply = self.client.ask(self.client.request("OPTIONS", to="To: <sip:a@b>;tag=mine"))
        self.assertEqual(reply.one("to"), "<sip:a@b>;tag=mine")

    def test_methods(self):
        for method, status in [("OPTIONS", 200), ("INVITE", 405), ("BYE", 405), ("CANCEL", 481), ("DANCE", 501),
                               ("register", 501)]:
            with self.subTest(method=method):
                reply = self.client.ask(self.client.request(method))
                self.assertEqual(reply.status, status)
                self.assertEqual(reply.one("cseq"), f"1 {method}")
                if status == 405:
                    self.assertEqual(reply.one("allow"), "REGISTER, OPTIONS")

    def test_what_is_required_is_unsupported(self):
        reply = self.client.ask(self.client.request(headers=["Require: 100rel, path"]))
        self.assertEqual((reply.status, reply.one("unsupported")), (420, "100rel, path"))

    def test_malformed_requests_are_400(self):
        good = self.client.request("REGISTER")
        cases = {
            "no Call-ID": good.replace(b"Call-ID: c1\r\n", b""),
            "no From": good.replace(b"From: <sip:alice@example.com>;tag=f1\r\n", b""),
            "no To": good.replace(b"To: <sip:alice@example.com>\r\n", b""),
            "no CSeq": good.replace(b"CSeq: 1 REGISTER\r\n", b""),
            "CSeq of another method": good.replace(b"CSeq: 1 REGISTER", b"CSeq: 1 OPTIONS"),
            "CSeq too large": good.replace(b"CSeq: 1 ", b"CSeq: 2147483648 "),
            "CSeq no number": good.replace(b"CSeq: 1 ", b"CSeq: one "),
            "CSeq without method": good.replace(b"CSeq: 1 REGISTER", b"CSeq: 1"),
            "two Call-IDs": good.replace(b"Call-ID: c1", b"Call-ID: c1\r\ni: c2"),
            "To no address": good.replace(b"To: <sip:alice@example.com>", b"To: <sip:alice@example.com"),
            "To a telephone": good.replace(b"To: <sip:alice@example.com>", b"To: <tel:+1>"),
            "no colon": good.replace(b"Max-Forwards: 70", b"Max-Forwards 70"),
            "space in a name": good.replace(b"Max-Forwards: 70", b"Max Forwards: 70"),
            "a NUL": good.replace(b"Max-Forwards: 70", b"Max-Forwards: 7\0"),
            "a bare CR": good.replace(b"Max-Forwards: 70", b"Max-Forwards: 7\r0"),
            "length too long": good.replace(b"Max-Forwards: 70", b"Content-Length: 5"),
            "length negative": good.replace(b"Max-Forwards: 70", b"Content-Length: -5"),
            "head does not end": good[:-2],
        }
        for name, packet in cases.items():
            with self.subTest(name):
                self.assertEqual(self.client.ask(packet).status, 400)

    def test_another_version_is_505(self):
        self.assertEqual(self.client.ask(self.client.request("OPTIONS").replace(b"SIP/2.0\r", b"SIP/3.0\r", 1)).status, 505)

    def test_what_cannot_be_answered_is_not(self):
        good = self.client.request("OPTIONS")
        via = good.split(b"\r\n")[1]
        for packet in [b"", b"\r\n\r\n", b"\0", b"hello", b"SIP/2.0 200 OK\r\n\r\n", good.replace(via + b"\r\n", b""),
                       good.replace(via, b"Via: nonsense"), good.replace(via, b"Via: SIP/2.0/UDP :5060"),
                       good.replace(via, via.replace(b"branch", b"branch\x01")), self.client.request("ACK")]:
            with self.subTest(packet=packet[:40]):
                self.assertTrue(self.client.silent(packet))

    def test_a_body_is_read_over(self):
        self.assertEqual(self.client.ask(self.client.request(headers=["Content-Length: 4"], extra="\r\nv:")).status, 200)

    def test_the_largest_packet(self):
        packet = self.client.request("OPTIONS", headers=["X: " + "x" * 1000] * 60)
        self.assertEqual(self.client.ask(packet).status, 200)
        self.assertEqual(self.client.ask(self.client.request("OPTIONS", headers=["a:"] * 15000)).status, 200)

    def test_random_damage_never_stops_a_worker(self):
        rng = random.Random(1)
        pids = set(self.registrar.children())
        base = self.client.request("REGISTER", "damage", headers=[
            'Contact: "A" <sip:a@h;transport=udp?x=y>;q=0.5;expires=100, sip:b@h', "Require: x", "Expires: 100", "l: 0"])
        for turn in range(3000):
            packet = bytearray(base)
            for _ in range(rng.randint(1, 6)):
                at = rng.randrange(len(packet))
                kind = rng.randrange(4)
                if kind == 0:
                    packet[at] = rng.randrange(256)
                elif kind == 1:
                    del packet[at:at + rng.randint(1, 20)]
                elif kind == 2:
                    packet[at:at] = rng.choice([b"\r\n ", b"\"", b"<", b">", b";", b",", b"%", b":", b"\0", b"\\", b"[", b"@"])
                else:
                    packet[at:at] = packet[at:at + rng.randint(1, 40)]
            self.client.send(bytes(packet))
            if turn % 50 == 0:
                self.drain()
        self.drain()
        self.assertEqual(set(self.registrar.children()), pids)

    def drain(self):
        """Everything that came back so far; afterwards the server is idle."""
        self.client.send(self.client.request("OPTIONS", call_id="drained"))
        end = time.monotonic() + 5
        while time.monotonic() < end:
            try:
                if self.client.socket.recvfrom(65535)[0].find(b"Call-ID: drained") >= 0:
                    return
            except socket.timeout:
                self.client.send(self.client.request("OPTIONS", call_id="drained"))
        self.fail("no answer any more")


if __name__ == "__main__":
    unittest.main()
