from vrjax.bench.mbench.formulas import *
