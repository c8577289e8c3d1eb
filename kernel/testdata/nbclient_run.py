"""Execute the notebook argv[1] with nbclient and kernel argv[3], and write argv[2]."""
import sys

import nbclient
import nbformat

nb = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(nb, kernel_name=sys.argv[3], timeout=600, record_timing=False).execute()
nbformat.validate(nb)
nbformat.write(nb, sys.argv[2])
