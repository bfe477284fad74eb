"""Whether bills of materials are what CycloneDX's schema asks for:

    sbom_check.py FILE...
"""

import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

for name in sys.argv[1:]:
    error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(Path(name).read_text(encoding="utf-8"))
    if error:
        sys.exit(f"{name}: {error}")
    print(f"{Path(name).name}: valid")
