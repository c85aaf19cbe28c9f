"""Makes PyTorch's wheel for Linux run without the CUDA packages it names, for machines that have no GPU.

The wheel's libraries are linked with CUDA's, although nothing of them runs on a CPU: two thirds of the download. Every
library that they need and that is missing is replaced by one compiled here, in which each function they import returns an
error ("no device"), so that `torch.cuda.is_available()` is false and all else works. Needs gcc and binutils.

Run it with the Python that has the wheel, installed by `pip install --no-deps`.
"""

import ctypes
import importlib.util
import pathlib
import re
import subprocess
import sys
import tempfile
from collections import defaultdict

NO_DEVICE = 100

# Which imported functions belong to which library, by the beginning of their names, the longest first.
LIBRARIES = [
    ("cublasLt", "libcublasLt"),
    ("cublas", "libcublas"),
    ("cudnn", "libcudnn"),
    ("cufft", "libcufft"),
    ("curand", "libcurand"),
    ("cusparseLt", "libcusparseLt"),
    ("cusparse", "libcusparse"),
    ("cusolver", "libcusolver"),
    ("cupti", "libcupti"),
    ("cuFile", "libcufile"),
    ("nccl", "libnccl"),
    ("pnccl", "libnccl"),
    ("nvrtc", "libnvrtc"),
    ("nvtx", "libnvToolsExt"),
    ("nvshmem", "libnvshmem_host"),
    ("cuda", "libcudart"),
]


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def loads(name):
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def owner(function):
    bare = function.lstrip("_")
    return next((library for start, library in LIBRARIES if bare.startswith(start)), None)


def imports(library):
    """The functions that `library` takes from others, with the version asked for, or nothing."""
    for line in output("nm", "-D", "--undefined-only", "--with-symbol-versions", library).splitlines():
        name, _, version = line.split()[-1].partition("@")
        yield name, version.lstrip("@") or None


def compile_stub(target, functions):
    versions = defaultdict(list)
    for function, version in functions.items():
        versions[version].append(function)
    with tempfile.TemporaryDirectory() as folder:
        source, script = pathlib.Path(folder, "stub.c"), pathlib.Path(folder, "stub.map")
        lines = [f"int {function}(void) {{ return {NO_DEVICE}; }}" for function in functions]
        source.write_text("\n".join(lines or ["int empty;"]) + "\n")
        sections = [f"{version} {{ global: {'; '.join(names)}; }};" for version, names in versions.items() if version]
        script.write_text("\n".join(sections))
        command = ["gcc", "-w", "-fno-builtin", "-shared", "-fPIC", source, f"-Wl,-soname,{target.name}", "-o", target]
        if sections:
            command.append(f"-Wl,--version-script={script}")
        subprocess.run(command, check=True)


def main():
    found = importlib.util.find_spec("torch")
    if found is None:
        sys.exit("this Python has no torch")
    package = pathlib.Path(found.origin).parent
    libraries = [*package.glob("lib/*.so*"), *package.glob("_C*.so")]
    here = {library.name for library in libraries}
    needed = {name for library in libraries for name in re.findall(r"\(NEEDED\).*\[(.+)\]", output("readelf", "-d", library))}
    missing = sorted(name for name in needed - here if re.match(r"lib(cu|nv|nccl)", name) and not loads(name))

    functions = defaultdict(dict)
    for library in libraries:
        for function, version in imports(library):
            functions[owner(function)][function] = version
    for name in missing:
        stub = functions[name.split(".so")[0]]
        compile_stub(package / "lib" / name, stub)
        print(f"{name}: {len(stub)} functions")


if __name__ == "__main__":
    main()
