"""A shop in 60 lines: it sells products, and learns by webhooks how each order ends. See README.md in this folder."""

import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager

from flask import Flask, abort, redirect, render_template, request

from holdfast_client import HoldfastClient, HoldfastError, InvalidWebhook, PaymentDeclined, verify_webhook

app = Flask(__name__, template_folder=".")
holdfast = HoldfastClient(os.environ["HOLDFAST_URL"], os.environ["HOLDFAST_API_KEY"], retry_for=30)
SECRET = os.environ["HOLDFAST_WEBHOOK_SECRET"]
TABLES = """CREATE TABLE IF NOT EXISTS sales (reference TEXT PRIMARY KEY, status TEXT, sequence INTEGER DEFAULT 0);
CREATE TABLE IF NOT EXISTS webhooks (id TEXT PRIMARY KEY)"""
UPDATE = "UPDATE sales SET status = :type, sequence = :sequence WHERE reference = :reference AND sequence < :sequence"


@contextmanager
def transaction() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(os.environ.get("SHOP_DATABASE", "var/shop.sqlite3"))) as connection, connection:
        connection.executescript(TABLES)
        yield connection


@app.get("/")
def show():
    with transaction() as database:
        sales = database.execute("SELECT reference, status FROM sales ORDER BY rowid DESC").fetchall()
    return render_template("shop.html", products=list(holdfast.list_products()), sales=sales, cart=uuid.uuid4())


@app.post("/buy")
def buy():
    cart, product_id, email, token = (request.form[name] for name in ("cart", "product_id", "email", "token"))
    with transaction() as database:  # the page made the cart's id: a second click on it buys nothing more
        database.execute("INSERT OR IGNORE INTO sales (reference, status) VALUES (?, 'placing')", (cart,))
    who = {"user_id": uuid.uuid5(uuid.NAMESPACE_URL, f"mailto:{email}"), "email": email}
    what = {"items": [{"product_id": product_id, "quantity": 1}], "payment_token": token}
    try:
        holdfast.place_order(**who, **what, reference=cart, idempotency_key=cart)
    except PaymentDeclined as error:
        return f"The card was declined: {error.decline_code}. Go back and try another one.", 402
    except HoldfastError as error:
        return f"Please reload this page, which buys nothing twice. {error.message}", 503
    return redirect("/")


@app.post("/holdfast")
def receive():
    try:
        event = verify_webhook(request.headers, request.get_data(), SECRET)
    except InvalidWebhook:
        abort(400)
    with transaction() as database:  # the id is kept together with the work: what arrives twice is done once
        if database.execute("INSERT OR IGNORE INTO webhooks VALUES (?)", (request.headers["webhook-id"],)).rowcount:
            database.execute(UPDATE, {"reference": None, "sequence": None, **event["data"], "type": event["type"]})
    return "", 204
