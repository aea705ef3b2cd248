"""How convolutions, pools and products are computed fast, by tracing a function. May import JAX alone.

Numbers that are one processor's habits (COPY, SUMMAND, OUTPUT, SHORTEST, NARROWEST, COLUMNS, MANY, BLOCK) were fitted
on cores of an Intel Xeon with AVX-512, and looked at on an AMD EPYC (benchmarks/ways.py, benchmarks/peers.py).
"""
