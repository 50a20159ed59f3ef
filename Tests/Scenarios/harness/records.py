"""Reading the server's record of issuance (docs/issuance.md) from outside."""
import os


def record_files(server):
    """The files that hold the records of a server."""
    found = []
    for base, _, names in os.walk(server.data_dir):
        found += [os.path.join(base, name) for name in sorted(names)
                  if "record" in os.path.relpath(os.path.join(base, name), server.data_dir)
                  and not name.endswith(".lock")]
    if not found:
        raise AssertionError(f"no record files below {server.data_dir}")
    return found


def missing_records(server, serials):
    """Those serial numbers (lower-case hex, no leading zeros) that no record names.

    A serial counts as recorded when it stands in a record file as hex text or as bytes.
    """
    blob = b""
    for path in record_files(server):
        with open(path, "rb") as file:
            blob += file.read()
    text = blob.lower()
    missing = []
    for serial in serials:
        padded = serial if len(serial) % 2 == 0 else "0" + serial
        if padded.encode() not in text and bytes.fromhex(padded) not in blob:
            missing.append(serial)
    return missing
