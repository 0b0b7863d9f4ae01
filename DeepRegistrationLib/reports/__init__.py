"""Results to read and keep: a page for one, a table over many. Importing this loads neither torch nor SimpleITK.

write_report(ResultFolder("out"))       report.html, report.csv, report.json
write_batch(root, collect(root))        index.html, batch.csv, batch.json
"""

from .batch import BatchCase, collect
from .batch_page import write_batch
from .page import write_measured, write_report
from .picture import Legend, Picture

__all__ = ["BatchCase", "Legend", "Picture", "collect", "write_batch", "write_measured", "write_report"]
