"""The tokens of the simulated gateway, under the name by which the model of the protocol imports them."""

from payments_service.gateways.simulated import decline_code, delays_refund, refuses_capture, refuses_refund

__all__ = ["decline_code", "delays_refund", "refuses_capture", "refuses_refund"]
