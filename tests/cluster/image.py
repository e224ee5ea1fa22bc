#!/usr/bin/env python3
"""Writes an OCI image as a tar file: image.py OUT.tar REF ENTRYPOINT FILE[=DEST]...

From scratch, for user 65532, and always the same bytes from the same input: no times, no owners, no compression
(whose output differs between zlib versions). Prints the image's full name and digest.
"""

import hashlib
import io
import json
import os
import posixpath
import struct
import sys
import tarfile

USER = "65532:65532"
PASSWD = b"root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"
ARCHITECTURES = {62: "amd64", 183: "arm64"}  # ELF e_machine
ELF_MAGIC = b"\x7fELF"
PT_INTERP = 3


def fail(message):
    sys.exit(f"cluster: error: {message}")


def full_name(reference):
    """Kubelets and containerd look images up under their full name: carillon:test is docker.io/library/carillon:test."""
    registry, slash, _ = reference.partition("/")
    if not slash:
        reference = "docker.io/library/" + reference
    elif not ("." in registry or ":" in registry or registry == "localhost"):
        reference = "docker.io/" + reference
    if ":" not in reference.rpartition("/")[2]:
        fail(f"the reference needs a tag: {reference}")
    return reference


def inspect_elf(path, content):
    """The architecture of a static program; None for other files. A dynamic one could not start in an empty image."""
    if content[:4] != ELF_MAGIC:
        return None
    if content[4:6] != b"\x02\x01":
        fail(f"{path} is not a 64-bit little-endian program")
    (machine,) = struct.unpack_from("<H", content, 18)
    (headers_offset,) = struct.unpack_from("<Q", content, 32)
    header_size, header_count = struct.unpack_from("<HH", content, 54)
    for index in range(header_count):
        if struct.unpack_from("<I", content, headers_offset + index * header_size) == (PT_INTERP,):
            fail(f"{path} is dynamically linked and could not start in an image from scratch; build it static (CGO_ENABLED=0, or a musl target)")
    return ARCHITECTURES.get(machine) or fail(f"{path} is for an unknown architecture ({machine})")


def add(archive, name, mode, content=None):
    entry = tarfile.TarInfo(name)
    entry.mode = mode
    if content is None:
        entry.type = tarfile.DIRTYPE
        archive.addfile(entry)
    else:
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))


def layer_of(files):
    """files: {destination: (mode, content)}"""
    folders = {"tmp": 0o1777}
    for destination in files:
        parent = posixpath.dirname(destination)
        while parent:
            folders.setdefault(parent, 0o755)
            parent = posixpath.dirname(parent)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for folder in sorted(folders):
            add(archive, folder, folders[folder])
        for destination in sorted(files):
            add(archive, destination, *files[destination])
    return buffer.getvalue()


class Blobs(dict):
    def put(self, media_type, content):
        digest = hashlib.sha256(content).hexdigest()
        self["blobs/sha256/" + digest] = content
        return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(content)}

    def put_json(self, media_type, value):
        return self.put(media_type, json.dumps(value, sort_keys=True).encode())


def write_image(output, reference, entrypoint, layer, architecture):
    blobs = Blobs()
    layer_descriptor = blobs.put("application/vnd.oci.image.layer.v1.tar", layer)
    configuration = blobs.put_json("application/vnd.oci.image.config.v1+json", {
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": [entrypoint], "User": USER, "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [layer_descriptor["digest"]]},
    })
    manifest = blobs.put_json("application/vnd.oci.image.manifest.v1+json", {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": configuration,
        "layers": [layer_descriptor],
    })
    index = {"schemaVersion": 2, "manifests": [{
        **manifest,
        "platform": {"architecture": architecture, "os": "linux"},
        "annotations": {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference.rpartition(":")[2]},
    }]}
    partial = output + ".partial"
    with tarfile.open(partial, "w", format=tarfile.GNU_FORMAT) as archive:
        add(archive, "oci-layout", 0o644, b'{"imageLayoutVersion":"1.0.0"}')
        add(archive, "index.json", 0o644, json.dumps(index, sort_keys=True).encode())
        for name in sorted(blobs):
            add(archive, name, 0o644, blobs[name])
    os.replace(partial, output)
    return manifest["digest"]


def main():
    if len(sys.argv) < 5:
        fail("usage: image.py OUT.tar REF ENTRYPOINT FILE[=DEST]...")
    output, reference, entrypoint, *arguments = sys.argv[1:]
    files, architectures = {"etc/passwd": (0o644, PASSWD)}, set()
    for argument in arguments:
        path, _, destination = argument.partition("=")
        destination = posixpath.normpath("/" + (destination or os.path.basename(path))).lstrip("/")
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError as error:
            fail(f"can't read {path}: {error.strerror}")
        architectures.add(inspect_elf(path, content))
        # Of the file's mode only "can be executed" counts: the rest depends on the umask of whoever made it.
        files[destination] = (0o755 if os.access(path, os.X_OK) else 0o644, content)
    architectures.discard(None)
    if len(architectures) != 1:
        fail("there must be at least one program, and all for one architecture: found " + (", ".join(sorted(architectures)) or "none"))
    if files.get(entrypoint.lstrip("/"), (0,))[0] != 0o755:
        fail(f"the entrypoint {entrypoint} is not among the executable files: " + " ".join("/" + name for name in sorted(files)))
    reference = full_name(reference)
    print(reference, write_image(output, reference, "/" + entrypoint.lstrip("/"), layer_of(files), architectures.pop()))


main()
