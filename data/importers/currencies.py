"""The codes of currencies: ISO 4217, with those that it withdrew since 2015."""

from __future__ import annotations

from typing import Any

from omnisearch.data.importers import value_checks as v
from omnisearch.data.importers.value_checks import Refused

_LISTED = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD
CDF CHF CLF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP
GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD
KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN
NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP
SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES
VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
ANG BGN BYR CUC HRK LTL MRO SLL STD VEF ZWL
"""
CODES = frozenset(_LISTED.split())


def currency(value: Any, field: str) -> str | None:
    """The code of a currency in upper case, None if missing."""
    found = (v.text(value, field) or "").strip().upper()
    if found and found not in CODES:
        raise Refused(field, "is not the ISO 4217 code of a currency, such as EUR", value)
    return found or None
