"""Signatures as Standard Webhooks has them, checked by openssl and by the specification's own example."""

from __future__ import annotations

import base64
import hashlib
import hmac
import subprocess

from common.webhooks.secrets import new_id, new_secret, signature

# The example of the specification (https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md).
SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
ID, TIMESTAMP = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
BODY = b'{"test": 2432232314}'


def by_openssl(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_")).hex()
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key}", "-binary"]
    return base64.b64encode(subprocess.run(command, input=content, capture_output=True, check=True).stdout).decode()


def test_signature_of_a_known_example():
    assert signature(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], ID, TIMESTAMP, BODY) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_openssl_computes_the_same_signature():
    secret, body = new_secret(), '{"name": "Ünal"}'.encode()
    assert signature([secret], "evt_1", 1700000000, body) == f"v1,{by_openssl(secret, b'evt_1.1700000000.' + body)}"


def test_each_secret_signs():
    secrets = [new_secret(), new_secret()]
    both = signature(secrets, "evt_1", 1, b"{}")
    assert both.split(" ") == [signature([each], "evt_1", 1, b"{}") for each in secrets]


def test_secret_has_32_random_bytes():
    secret = new_secret()
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert secret != new_secret()


def test_key_is_the_decoded_secret():
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, b"a.1.{}", hashlib.sha256).digest()).decode()
    assert signature([SECRET], "a", 1, b"{}") == f"v1,{expected}"


def test_id_has_the_prefix_and_24_characters():
    assert new_id("we_").startswith("we_")
    assert len(new_id("we_")) == 27
