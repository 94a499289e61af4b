"""`python opening.py FOLDER ...` in an environment with transformers 4: what it makes of each folder, as JSON."""

import json
import sys
from pathlib import Path

import transformers
from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from tests.trainer import bases

transformers.logging.set_verbosity_error()
told = []
for folder in map(Path, sys.argv[1:]):
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (ValueError, ImportError, AttributeError, OSError) as error:
        told.append({"version": transformers.__version__, "error": str(error)})
        continue
    config = AutoConfig.from_pretrained(folder).to_dict() if (folder / "config.json").is_file() else {}
    generation = GenerationConfig.from_pretrained(folder).to_dict() if (folder / "generation_config.json").is_file() else {}
    told.append({"version": transformers.__version__, "said": bases.said(tokenizer), "config": config, "generation": generation})
sys.stdout.write(json.dumps(told, default=str))
