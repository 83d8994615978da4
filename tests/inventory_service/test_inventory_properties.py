"""Any sequence of calls, with repeats, against a small model: the answers agree and the books balance."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ORDERS, PRODUCTS = range(3), range(2)
BASKETS = [{0: 1}, {1: 2}, {0: 3, 1: 3}, {0: 6}]
CALLS = st.one_of(
    st.tuples(st.just("reserve"), st.sampled_from(ORDERS), st.sampled_from(range(len(BASKETS)))),
    st.tuples(st.just("release"), st.sampled_from(ORDERS)),
    st.tuples(st.just("change"), st.sampled_from(PRODUCTS), st.sampled_from([-4, -1, 1, 5])),
)


@dataclass
class Model:
    """The contract, with numbers for orders and products."""

    stock: list[int]
    reserved: dict[int, int] = field(default_factory=dict)
    released: set[int] = field(default_factory=set)

    def reserve(self, order: int, basket: int) -> int:
        lines = BASKETS[basket]
        if order in self.released:
            return 409
        if order in self.reserved:
            return 201 if self.reserved[order] == basket else 422
        if any(self.stock[product] < quantity for product, quantity in lines.items()):
            return 409
        for product, quantity in lines.items():
            self.stock[product] -= quantity
        self.reserved[order] = basket
        return 201

    def release(self, order: int) -> int:
        if order in self.reserved and order not in self.released:
            for product, quantity in BASKETS[self.reserved[order]].items():
                self.stock[product] += quantity
        self.released.add(order)
        return 200

    def change(self, product: int, quantity: int) -> int:
        if self.stock[product] + quantity < 0:
            return 409
        self.stock[product] += quantity
        return 200


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(CALLS, max_size=15))
def test_any_sequence_of_calls_follows_the_contract(inventory, balanced, calls):
    model = Model([5, 5])
    products = [inventory.product(stock=5) for _ in PRODUCTS]
    orders = [str(uuid.uuid4()) for _ in ORDERS]
    send = {
        "reserve": lambda order, basket: inventory.reserve(
            orders[order], {products[product]: quantity for product, quantity in BASKETS[basket].items()}
        ),
        "release": lambda order: inventory.release(orders[order]),
        "change": lambda product, quantity: inventory.change(products[product], quantity),
    }
    for name, *arguments in calls:
        assert send[name](*arguments).status_code == getattr(model, name)(*arguments)
        assert [inventory.stock(product) for product in products] == model.stock
        assert balanced()
