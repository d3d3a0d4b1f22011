# One line each; the work is done by bin/ and the tools. ARGS passes arguments on: make run ARGS=--once
.PHONY: run test check bench docs lock format

run: ; bin/bootstrap run && .venv/bin/python -m simulators.demo $(ARGS)
test: ; bin/bootstrap test && .venv/bin/python -m pytest -n 2 --dist loadfile $(ARGS)
check: ; bin/bootstrap test && bin/check
bench: ; bin/bootstrap test && .venv/bin/python -m benchmarks $(ARGS)
docs: ; bin/bootstrap test && .venv/bin/python -m docs.build
format: ; .venv/bin/ruff format . && .venv/bin/ruff check --fix .
lock: ; bin/lock
