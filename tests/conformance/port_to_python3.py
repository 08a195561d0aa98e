"""Makes Autobahn's test suite, whose newest release is Python 2 source, run on Python 3, in place: python3 port_to_python3.py <its package folder>

2to3 does the syntax. What it cannot know is that this code takes byte strings for texts: sources and payloads are read as latin-1, which
keeps each byte one character, and become bytes again where they are handed to autobahn's own library, which is of Python 3.
"""

import pathlib
import re
import shutil
import subprocess
import sys

# Test modes that we do not need and that import what is gone.
UNUSED = ["wamp*", "wsperf*", "testdb.py", "testrun.py", "serializer.py", "rinterfaces.py"]

BYTES_AND_TEXTS = '''import binascii


def _bytes(x):
    return x.encode("latin-1") if isinstance(x, str) else x


def _text(x):
    return x.decode("latin-1") if isinstance(x, (bytes, bytearray)) else x


def _hex(x):
    return binascii.b2a_hex(_bytes(x)).decode()


def _utf8(code_point):
    return chr(code_point).encode("utf-8", "surrogatepass").decode("latin-1")
'''

# What autobahn's protocol takes as bytes; the cases call it with texts. (It looks at payloads itself, so a subclass is not enough.)
SENDING = '''class FuzzingProtocol:
   debug = False
   def sendFrame(self, opcode, payload=b'', mask=None, **more):
      return self._base.sendFrame(self, opcode=opcode, payload=_bytes(payload), mask=_bytes(mask), **more)
   def sendMessage(self, payload, *more, **named):
      return self._base.sendMessage(self, _bytes(payload), *more, **named)
   def sendMessageFrameData(self, payload, sync=False):
      return self._base.sendMessageFrameData(self, _bytes(payload), sync)
   def sendClose(self, code=None, reason=None):
      return self._base.sendClose(self, code, _bytes(reason).decode('utf-8', 'replace') if reason else reason)
   def sendCloseFrame(self, code=None, reasonUtf8=None, isReply=False):
      return self._base.sendCloseFrame(self, code=code, reasonUtf8=_bytes(reasonUtf8), isReply=isReply)
'''

# In fuzzing.py, in this order.
FUZZING = [
    (r"_hex\(data\[:maxlen\]\) \+ ell", "_hex(_bytes(data)[:maxlen]) + ell"),
    (r"''\.join\(payload\)", "b''.join(payload)"),
    (r"def (ascii|bin)LogData\((.*)\):\n", r"def \1LogData(\2):\n   data = _bytes(data)\n"),
    (r"dd = data\[:maxlen\] \+ ellipses", "dd = data[:maxlen] + _bytes(ellipses)"),
    (r"runCase\.on(Message|Pong)\((msg|payload)", r"runCase.on\1(_text(\2)"),
    (r"Factory\.__init__\(self, debug.*\)", "Factory.__init__(self)"),
    (r'\)\.encode\("utf-8"\)\)\n', "))\n"),
    (r"ll\.encode\('utf8'\)", "ll"),
    (r"report_filename\), 'w'\)", "report_filename), 'w', encoding='utf-8')"),
    (r"json\.dumps\(", "_dumps("),
    (r"import os, json,", "import os, json\n_dumps = lambda o, **k: json.dumps(o, default=_text, **k)\nimport"),
    (r"class Fuzzing(Client|Server)Protocol\((.*)\):\n", r"class Fuzzing\1Protocol(\2):\n   _base = WebSocket\1Protocol\n"),
    (r"(?m)^class FuzzingProtocol:\n", SENDING),
]


def read(path):
    return path.read_text(encoding="latin-1")


def write(path, source):
    path.write_text(source, encoding="latin-1")


def before_2to3(source):
    source = re.sub(r"(?m)^#.*coding[=:].*$", "#", source, count=1)
    for variable in "ij":
        source = source.replace(f'unichr({variable}).encode("utf-8")', f"_utf8({variable})")
    source = source.replace("binascii.b2a_hex", "_hex")
    return f"# -*- coding: latin-1 -*-\nfrom autobahntestsuite._py3 import _bytes, _hex, _text, _utf8\n{source}"


def after_2to3(path, source):
    source = source.replace("from zope.interface import implements\n", "implements = lambda *_: None\n")
    if path.name in ("wstest.py", "__init__.py"):
        source = "\n".join(line for line in source.split("\n") if "serializer" not in line)
    if path.parent.name == "case":
        source = re.sub(r"\(object, *Case, *\)", "(Case,)", source).replace("len(self.payload) / ", "len(self.payload) // ")
    if path.name == "case6_x_x.py":
        source = re.sub(r"v\.validate\(([^\n]*)\)", r"v.validate(_bytes(\1))", source)
    if path.name == "case12_x_x.py":
        # autobahn's names of these have changed.
        camel = r"\b(request|accept)(No|Max)([A-Z][a-z]+)([A-Z][a-z]+)"
        source = re.sub(camel, lambda name: "_".join(part.lower() for part in name.groups()), source)
    if path.name == "fuzzing.py":
        for pattern, replacement in FUZZING:
            source, count = re.subn(pattern, replacement, source)
            if count == 0:
                sys.exit(f"{path}: nothing matches {pattern}; is this another release of the suite?")
    return source


def main():
    root = pathlib.Path(sys.argv[1])
    for pattern in UNUSED:
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    paths = sorted(root.rglob("*.py"))
    for path in paths:
        write(path, before_2to3(read(path)))
    write(root / "_py3.py", BYTES_AND_TEXTS)
    # fissix is 2to3 as a package: Python no longer brings it.
    command = [sys.executable, "-m", "fissix", "--write", "--nobackups", "--no-diffs", str(root)]
    subprocess.run(command, check=True, capture_output=True)
    for path in paths:
        write(path, after_2to3(path, read(path)))


if __name__ == "__main__":
    main()
