# Everything a newcomer needs; `make study` and `make test` set up their own environment.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: study ablation app bench bench-gpu maps test slow torture package notebooks stale results dev docs readme clean help

help:
	@echo "make study   the whole study on the embedded demo ads -> runs/demo/report.html"
	@echo "make ablation  from the reference recipe to ours, step by step, on the demo ads -> runs/demo-ablation/ablation.csv"
	@echo "make app     a page to try the models of make study on your own ads; ADS_PREDICTOR=FOLDER make app for another run"
	@echo "make bench   all benchmarks: ours beside its peers -> benchmarks/*.csv"
	@echo "make bench-gpu  what a GPU does, the setting of the reference study included -> benchmarks/gpu-*.csv"
	@echo "make maps    how far Grad-CAM's maps can be trusted, measured -> benchmarks/maps-*.csv"
	@echo "make test    all notebooks and all of tests/ but what takes minutes"
	@echo "make slow    the longest tests: whole studies, machines and drivers that are killed"
	@echo "make torture 20,000 broken files and 40 kills, under 40 minutes; SEED=2 make torture draws others"
	@echo "make package the wheel -> dist/, tried in two fresh environments: with the pins, with the newest releases"
	@echo "make notebooks  run all notebooks and store their outputs"
	@echo "make stale   which stored outputs no longer match what the notebooks give"
	@echo "make results which command writes which measured table, and which are out of date; ANEW=1 runs them"
	@echo "make dev     environment and git hooks for working on the notebooks"
	@echo "make readme  README.md from nbs/index.ipynb"
	@echo "make docs    the documentation site (needs Quarto)"

$(READY): settings.ini setup.py constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
# what Grad-CAM is compared with; its requirements would lay a second OpenCV over ours
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps grad-cam ttach
	touch $(READY)

study: $(READY)
	$(BIN)/ads_study --data demo --out runs/demo

ablation: $(READY)
	$(BIN)/ads_study --ablate --data demo --split stratified --out runs/demo-ablation

# for this machine alone; the terminal tells the address
app: $(READY)
	ADS_PREDICTOR='$(abspath $(or $(ADS_PREDICTOR),runs/demo))' $(BIN)/voila nbs/apps/03_page.ipynb

bench: $(READY)
	for b in start prepare extraction gradcam growth study; do $(BIN)/python -W ignore benchmarks/bench_$$b.py || exit 1; done

bench-gpu: $(READY)
	$(BIN)/python -W ignore benchmarks/bench_gpu.py

maps: $(READY)
	$(BIN)/python -W ignore benchmarks/measure_maps.py demo
	$(BIN)/python -W ignore benchmarks/measure_maps.py posters

# real data for development, if they lie beside the checkout; notebooks and tests look only at these two variables
ifneq ($(wildcard ../shared/data/pitt),)
export ADS_PITT ?= $(abspath ../shared/data/pitt)
endif
ifneq ($(wildcard ../shared/data/posters),)
export ADS_POSTERS ?= $(abspath ../shared/data/posters)
endif

test: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not slow"

slow: $(READY)
	$(BIN)/python -m pytest -m slow

torture: $(READY)
	$(BIN)/python -W ignore tests/torture.py --seed $(or $(SEED),1)

# with environments of its own; PYTHON=python3.12 make package tries another Python
package:
	$(PYTHON) tests/try_package.py

# in turn, each stored as soon as it has run
notebooks: dev
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.store_widget_state=False \
		--ExecutePreprocessor.timeout=900 $$(find nbs -name '*.ipynb' -not -path '*checkpoints*' | sort)
	$(BIN)/nbdev_clean

stale: $(READY)
	$(BIN)/python tests/run_notebooks.py

# make results ANEW=1 runs the commands of those that are out of date, which can take hours
results: $(READY)
	$(BIN)/python benchmarks/results.py $(if $(ANEW),--anew)

# the kernel of this environment draws no bars and tells no seconds, so that a notebook that is run and saved changes in its results only
dev: $(READY)
	$(BIN)/nbdev_install_hooks
	$(BIN)/python -m ipykernel install --sys-prefix --env ADS_PROGRESS 0 >/dev/null

readme: $(READY)
	$(BIN)/jupyter nbconvert nbs/index.ipynb --to markdown --output-dir . --output README \
		--NbConvertApp.output_files_dir=nbs/images \
		--RegexRemovePreprocessor.enabled=True --RegexRemovePreprocessor.patterns='^#\|\s*hide'
	awk '/^```/ { open = !open; if (open && $$0 == "```") $$0 = "```python" } \
		/^#\| fig-alt: / { alt = $$0; gsub(/^#\| fig-alt: "|"$$/, "", alt) } /^!\[(jpeg|png)\]/ { sub(/\[[a-z]+\]/, "[" alt "]") } \
		skip { skip = open; next } /^#\| echo: false/ { skip = 1; fence = ""; next } \
		/^(#\||:::)/ { next } fence != "" { print fence; fence = "" } \
		open && /^```/ { fence = $$0; next } { print }' README.md \
		| sed -E 's#\{fig-alt="[^"]*"\}##; s#\]\((nbs/)?([0-9A-Za-z_/]+\.(ipynb|jpg|png|md))#](nbs/\2#g' | cat -s > README.new && mv README.new README.md

docs: readme
# after `readme`, so that nbdev finds README.md newer than its notebook and leaves it as it is
	@command -v quarto >/dev/null || { echo "Quarto is not on PATH. Get it from https://quarto.org/docs/get-started/ (or run nbdev_install_quarto), then make docs again."; exit 1; }
	$(BIN)/nbdev_docs

clean:
	rm -rf _docs _proc build dist *.egg-info .pytest_cache
