"""Change one NSS database through libnss3, in a process of its own: `nss_child.py trust|untrust DIRECTORY NAME < DER`.

Chromium depends on libnss3 and Firefox brings its own, so certutil (libnss3-tools) need not be installed. NSS keeps
global state and may crash on a damaged database: neither belongs into devtls' own process. Exit status: 0 done,
3 there is no libnss3, 4 the database has a password, 1 anything else, told on standard error.
"""

from __future__ import annotations

import ctypes
import os
import sys

NO_LIBRARY = 3
HAS_PASSWORD = 4
NSS_INIT_NOROOTINIT = 0x10  # nss.h: do not look for the built-in roots
TRUSTED_CA = 0x18  # certdb.h: CERTDB_VALID_CA | CERTDB_TRUSTED_CA, certutil's "C"


class Item(ctypes.Structure):
    """SECItem of seccomon.h."""

    _fields_ = (("type", ctypes.c_uint), ("data", ctypes.c_char_p), ("length", ctypes.c_uint))


class Trust(ctypes.Structure):
    """CERTCertTrust of certt.h."""

    _fields_ = (("ssl", ctypes.c_uint), ("email", ctypes.c_uint), ("signing", ctypes.c_uint))


class NssError(Exception):
    """A call into NSS failed; its name and error number."""


def main(words: list[str], der: bytes) -> int:
    """Do one thing to one database."""
    verb, directory, name = words
    try:
        nss = ctypes.CDLL("libnss3.so")
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return NO_LIBRARY
    _declare(nss)
    try:
        _check(nss, "NSS_Initialize", f"sql:{directory}".encode(), b"", b"", b"secmod.db", NSS_INIT_NOROOTINIT)
        slot = nss.PK11_GetInternalKeySlot()
        if nss.PK11_NeedUserInit(slot):
            _check(nss, "PK11_InitPin", slot, None, b"")
        if nss.PK11_NeedLogin(slot) and nss.PK11_CheckUserPassword(slot, b"") != 0:
            return HAS_PASSWORD
        item = Item(0, der, len(der))
        if verb == "trust":
            _trust(nss, slot, item, name.encode())
        else:
            _untrust(nss, slot, item)
    except NssError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        nss.NSS_Shutdown()
    return 0


def _trust(nss: ctypes.CDLL, slot: int, item: Item, name: bytes) -> None:
    database = nss.CERT_GetDefaultCertDB()
    certificate = nss.PK11_FindCertFromDERCertItem(slot, ctypes.byref(item), None)
    if not certificate:
        certificate = nss.CERT_NewTempCertificate(database, ctypes.byref(item), None, 0, 1)
        if not certificate:
            raise NssError(f"CERT_NewTempCertificate: error {nss.PORT_GetError()}")
        _check(nss, "PK11_ImportCert", slot, certificate, 0, name, 0)
    _check(nss, "CERT_ChangeCertTrust", database, certificate, ctypes.byref(Trust(TRUSTED_CA, 0, 0)))
    nss.CERT_DestroyCertificate(certificate)


def _untrust(nss: ctypes.CDLL, slot: int, item: Item) -> None:
    certificate = nss.PK11_FindCertFromDERCertItem(slot, ctypes.byref(item), None)
    if certificate:
        _check(nss, "SEC_DeletePermCertificate", certificate)
        nss.CERT_DestroyCertificate(certificate)


def _check(nss: ctypes.CDLL, name: str, *arguments: object) -> None:
    if getattr(nss, name)(*arguments) != 0:
        raise NssError(f"{name}: error {nss.PORT_GetError()}")


def _declare(nss: ctypes.CDLL) -> None:
    """Pointers are 64 bits wide; ctypes would cut them to int."""
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    signatures: dict[str, tuple[object, list[object]]] = {
        "NSS_Initialize": (number, [text, text, text, text, ctypes.c_uint32]),
        "NSS_Shutdown": (number, []),
        "PORT_GetError": (number, []),
        "PK11_GetInternalKeySlot": (pointer, []),
        "PK11_NeedUserInit": (number, [pointer]),
        "PK11_InitPin": (number, [pointer, text, text]),
        "PK11_NeedLogin": (number, [pointer]),
        "PK11_CheckUserPassword": (number, [pointer, text]),
        "CERT_GetDefaultCertDB": (pointer, []),
        "CERT_NewTempCertificate": (pointer, [pointer, pointer, text, number, number]),
        "PK11_FindCertFromDERCertItem": (pointer, [pointer, pointer, pointer]),
        "PK11_ImportCert": (number, [pointer, pointer, ctypes.c_ulong, text, number]),
        "CERT_ChangeCertTrust": (number, [pointer, pointer, pointer]),
        "SEC_DeletePermCertificate": (number, [pointer]),
        "CERT_DestroyCertificate": (None, [pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(nss, name)
        function.restype, function.argtypes = result, arguments


if __name__ == "__main__":
    os.umask(0o077)  # a database that is made here is its owner's
    sys.exit(main(sys.argv[1:], sys.stdin.buffer.read()))
