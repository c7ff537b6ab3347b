# fraudd build.  `make help` lists the targets.
#
# Every variant (release, asan, tsan, coverage, fuzz) has its own directory under build/, so two
# variants never share an object file.

V      ?= release
CC     ?= cc
CXX    ?= c++
B      := build/$(V)
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
MANDIR ?= $(PREFIX)/share/man
# vendor-completions for a distribution's package
ZSHDIR ?= site-functions
PKGS   := rdkafka libpq libconfig openblas simdjson libmicrohttpd libzstd zlib liblzma libxxhash \
          libsystemd libcrypto libcurl jansson protobuf

# Debian packages.  BUILD_DEBS: what building and `make demo` need; TEST_DEBS: `make test` besides.
BUILD_DEBS := gcc g++ libc6-dev pkg-config librdkafka-dev libpq-dev libconfig-dev libopenblas-dev \
              libsimdjson-dev libmicrohttpd-dev libzstd-dev zlib1g-dev liblzma-dev libxxhash-dev \
              libsleef-dev libsystemd-dev libssl-dev libcurl4-openssl-dev libjansson-dev libprotobuf-dev \
              libprotoc-dev postgresql
TEST_DEBS  := libcmocka-dev libavro-dev curl openssl python3-minimal python3-jsonschema openjdk-17-jre-headless maven \
              mandoc zsh prometheus chromium chromium-driver
LINT_DEBS  := clang-format-14 clang-tidy-14 cppcheck
DEB_DEBS   := dpkg-dev binutils
FUZZ_DEBS  := clang-14 libclang-rt-14-dev

# Asked only when something is compiled: on a new machine `deps` runs first, in a make of its own.
PKG_CFLAGS = $(shell pkg-config --cflags $(PKGS))
PKG_LIBS   = $(shell pkg-config --libs $(PKGS)) -lsleef
REVISION   := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion \
        -Wdouble-promotion -Wfloat-equal -Wcast-qual -Wcast-align -Wwrite-strings -Wundef \
        -Wpointer-arith -Wformat=2 -Wvla
WARN_C := -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition
# Only CI asks for this: a newer compiler must not break a user's build.
ifdef WERROR
WARN += -Werror
endif
INCLUDE = -I. $(PKG_CFLAGS)
STD    := -std=c11 -D_GNU_SOURCE
STDXX  := -std=c++17 -fno-exceptions -fno-rtti
# -ffp-contract=off: one rounding per operation, whatever the CPU.  -ffast-math
# and -Ofast are forbidden: they make isnan() always false.
SAFE := -fstack-protector-strong -fno-common -ffp-contract=off

SAN          := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT_release  := -O2 -g -D_FORTIFY_SOURCE=2
OPT_asan     := -O1 -g $(SAN)
OPT_tsan     := -O1 -g -fsanitize=thread
OPT_coverage := -O0 -g --coverage
OPT_fuzz     := -O1 -g -fsanitize=fuzzer-no-link $(SAN)

CFLAGS_ALL   = $(STD) $(INCLUDE) $(WARN) $(WARN_C) $(SAFE) $(OPT_$(V)) $(CFLAGS)
CXXFLAGS_ALL = $(STDXX) $(INCLUDE) $(WARN) $(SAFE) $(OPT_$(V)) $(CXXFLAGS)
# Addresses are bound at the start and their table is read-only from then on.
LDLIBS_ALL   = -Wl,-z,relro,-z,now $(PKG_LIBS) -lm -pthread $(LDLIBS)

LIB_SRC := $(filter-out %/main.c,$(wildcard base/*.c features/*.c model/*.c storage/*.c daemon/*.c))
LIB_CXX := $(wildcard daemon/*.cpp)
HEADERS := $(wildcard base/*.h features/*.h model/*.h storage/*.h daemon/*.h)
ALL_SRC := $(LIB_SRC) $(LIB_CXX) $(HEADERS) $(wildcard daemon/main.c tests/*/*.[ch] tests/*/*.cpp)
LIB_OBJ := $(LIB_SRC:%.c=$(B)/%.o) $(LIB_CXX:%.cpp=$(B)/%.o)
# What tests share: generators, naive twins, servers.
SUPPORT := $(B)/tests/libsupport.a
UNIT    := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/test_*.c))
INTEG   := $(patsubst %.c,$(B)/%,$(wildcard tests/integration/test_*.c))
FUZZ    := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))
BENCH   := $(patsubst %.c,$(B)/%,$(wildcard tests/bench/bench_*.c))

# One short line a file; VERBOSE=1 shows the commands.
ifdef VERBOSE
say   =
quiet =
else
say   = $(if $(findstring s,$(filter-out --%,$(firstword -$(MAKEFLAGS)))),,@printf '  %-4s%s\n' $1 $2)
quiet = @
endif

# Our own threads are the parallelism; OpenBLAS threads only fight with them.
RUN := env -u OPENBLAS_CORETYPE OPENBLAS_NUM_THREADS=1

.PHONY: all always chaos build-unit build-tests help deps deps-test deps-lint deps-fuzz deps-deb demo test unit integration e2e instances torture outages bench bench-ablation bench-drift bench-instructions bench-kafka bench-memory bench-quality bench-queue bench-recovery bench-steps bench-streams bench-train bench-weekly bench-gate asan tsan coverage \
        fuzz fuzz-run lint check-layers check-headers check-format format man completion install deb deb-check deb-try clean
.SECONDARY:

all: $(B)/fraudd                        ## the program: build/release/fraudd

help:                                   ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 20
	@echo "VERBOSE=1 shows the compiler's commands; V=asan, tsan, coverage or fuzz names another build."

deps:                                   ## installs the Debian packages that building and the demo need
	@etc/deps.sh $(BUILD_DEBS)
deps-test: deps                         ## ... and what the tests need besides
	@etc/deps.sh $(TEST_DEBS)
deps-lint: deps-test
	@etc/deps.sh $(LINT_DEBS)
deps-deb: deps
	@etc/deps.sh $(DEB_DEBS)
deps-fuzz: deps-test
	@etc/deps.sh $(FUZZ_DEBS)

demo: deps                              ## everything on one machine: simulate, train, stream, score, store
	@$(MAKE) --no-print-directory -j$$(nproc) all
	$(RUN) $(B)/fraudd demo

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(quiet)$(CC) $(CFLAGS_ALL) -MMD -MP -c $< -o $@
$(B)/%.o: %.cpp
	@mkdir -p $(@D)
	$(call say,CXX,$<)
	$(quiet)$(CXX) $(CXXFLAGS_ALL) -MMD -MP -c $< -o $@
# Training spends its time in loops over vectors (model/train_loops.h).
ifeq ($(V),release)
$(patsubst %.c,$(B)/%.o,$(wildcard model/tape*.c model/bins*.c model/trees*.c model/net.c model/train_adam.c model/train_loops*.c)): CFLAGS += -O3
endif
$(B)/daemon/version.o: CFLAGS += -DFD_REVISION='"$(REVISION)"'
$(B)/daemon/version.o: $(B)/revision
# Written anew only where it says another one: models name the program that made them.
$(B)/revision: always
	@mkdir -p $(@D)
	@echo $(REVISION) | cmp -s - $@ || echo $(REVISION) >$@
$(B)/storage/migrate.o: $(wildcard sql/*.sql)
$(B)/daemon/console_files.o: $(wildcard daemon/console/*)
$(B)/daemon/avro_write.o: etc/wire/transaction.avsc
$(B)/daemon/proto_write.o: etc/wire/transaction.proto
# libprotobuf throws; what it throws ends in these files.
$(B)/daemon/proto_schema.o $(B)/tests/support/proto_encode.o: STDXX := -std=c++17
$(B)/libfraud.a: $(LIB_OBJ)
	@rm -f $@
	$(call say,AR,$@)
	$(quiet)ar rcs $@ $^
# The package's: stripped by the linker, so that its build-id does not follow the build's folder.
$(B)/fraudd-stripped: LDLIBS += -s
$(B)/fraudd $(B)/fraudd-stripped: $(B)/daemon/main.o $(B)/libfraud.a
	$(call say,LD,$@)
	$(quiet)$(CXX) $(OPT_$(V)) $^ -o $@ $(LDLIBS_ALL)
# allocations.c replaces malloc, so it goes only where it is asked for.
COUNTING := $(patsubst %,$(B)/tests/unit/test_%,decode pipeline proto no_malloc)
$(SUPPORT): $(patsubst %.c,$(B)/%.o,$(filter-out tests/support/allocations.c,$(wildcard tests/support/*.c))) \
  $(patsubst %.cpp,$(B)/%.o,$(wildcard tests/support/*.cpp))
	@rm -f $@
	$(call say,AR,$@)
	$(quiet)ar rcs $@ $^
$(COUNTING): $(B)/tests/support/allocations.o
ifneq ($(filter asan tsan,$(V)),)
$(COUNTING): LDLIBS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc,--wrap=_Znwm
endif
$(UNIT) $(INTEG): %: %.o $(SUPPORT) $(B)/libfraud.a
	$(call say,LD,$@)
	$(quiet)$(CXX) $(OPT_$(V)) $^ -o $@ -lcmocka $(LDLIBS_ALL)
# The simulation: safeguards of the program are replaced at the linker, one at a time.
comma := ,
CHAOS := $(B)/tests/chaos/chaos $(B)/tests/unit/test_chaos
$(CHAOS): LDLIBS += $(addprefix -Wl$(comma)--wrap=,journal_order_apply \
  score_follow_to score_follow_again score_rebuild feat_world_follow pipeline_messages pipeline_admit \
  pipeline_label_message score_known_crash score_settings_to score_start_settled \
  score_keep_may_write score_keep_is_committed score_keep_alike)
# ... and that of the sink, over a database in memory.
SINK_CHAOS := $(B)/tests/chaos/chaos $(B)/tests/unit/test_sink_chaos
$(SINK_CHAOS): LDLIBS += $(addprefix -Wl$(comma)--wrap=,db_open db_close db_script db_exec db_exec_bytes db_sqlstate \
  db_rows_count db_rows_text db_rows_free db_copy_begin db_copy_put db_copy_end migrate_check outbox_turn \
  upkeep_turn sink_write nanosleep progress_now_us)
$(B)/tests/chaos/chaos: %: %.o $(SUPPORT) $(B)/libfraud.a
	$(call say,LD,$@)
	$(quiet)$(CXX) $(OPT_$(V)) $^ -o $@ -lcmocka $(LDLIBS_ALL)
# A `fraudd` with faults planted in it, for the test of what they cost.
PLANTED := $(B)/tests/plant/fraudd
$(PLANTED): LDLIBS += $(addprefix -Wl$(comma)--wrap=,decode_tx decode_label pipeline_messages feat_world_follow)
$(PLANTED): $(B)/daemon/main.o $(B)/tests/plant/plant.o $(B)/libfraud.a
	$(call say,LD,$@)
	$(quiet)$(CXX) $(OPT_$(V)) $^ -o $@ $(LDLIBS_ALL)
$(B)/tests/integration/test_crash: | $(PLANTED)
# The other side of the wire: Avro's own library writes what ours reads.
$(B)/tests/unit/test_avro: LDLIBS += -lavro
$(BENCH): %: %.o $(SUPPORT) $(B)/libfraud.a
	$(call say,LD,$@)
	$(quiet)$(CXX) $(OPT_$(V)) $^ -o $@ $(LDLIBS_ALL)
$(FUZZ): %: %.o $(SUPPORT) $(B)/libfraud.a
	$(call say,LD,$@)
	$(quiet)$(CXX) $(OPT_$(V)) -fsanitize=fuzzer $^ -o $@ $(LDLIBS_ALL)

test: deps-test                         ## everything: unit, integration, sanitizers
	@tests/run.sh all
build-unit: $(UNIT)
build-tests: $(UNIT) $(INTEG) $(B)/fraudd
unit: $(UNIT) $(if $(filter release,$(V)),$(B)/fraudd) ## unit tests of this build ($(V))
	@tests/run.sh programs $(UNIT) $(if $(filter release,$(V)),$(wildcard tests/unit/test_*.sh tests/unit/test_*.py))
integration: $(INTEG) $(B)/fraudd       ## against a real Kafka and a throwaway PostgreSQL
	@tests/run.sh programs $(INTEG) $(wildcard tests/integration/test_*.sh)
e2e: $(B)/tests/integration/test_end_to_end $(B)/fraudd  ## DATA=FILE: LIMIT (500000) of its payments through Kafka, two processes and PostgreSQL
	@test -r "$(DATA)" || { echo "make e2e: DATA=FILE names a history in CSV" >&2; exit 64; }
	E2E_DATA=$(DATA) E2E_LIMIT=$(or $(LIMIT),500000) $(RUN) $< '*two_scores*'
instances: $(B)/tests/integration/test_instances $(B)/fraudd  ## two, three, one, three `score` decide PAYMENTS (1020000): all of it decided again from the record
	INSTANCES_PAYMENTS=$(or $(PAYMENTS),1020000) $(RUN) $<
torture: $(B)/tests/integration/test_torture $(B)/fraudd  ## score and sink killed KILLS (200) times under load: nothing lost, nothing doubled, all of it decided again from the record
	TORTURE_KILLS=$(or $(KILLS),200) $(RUN) $<
chaos: $(B)/tests/chaos/chaos           ## SEEDS (1000) runs of scoring processes, and of the sink, while everything goes wrong [WITHOUT=owner]
	$(if $(filter sink-%,$(WITHOUT)),,$(RUN) nice $< --seeds $(or $(SEEDS),1000) $(if $(WITHOUT),--without $(WITHOUT)))
	$(if $(filter-out sink-%,$(WITHOUT)),,$(RUN) nice $< --sink --seeds $(or $(SEEDS),1000) $(if $(WITHOUT),--without $(WITHOUT)))
bench: $(BENCH) $(B)/fraudd             ## print speed numbers
	@for b in $(BENCH); do echo "== $$b"; $(RUN) $$b || exit 1; done
bench-quality: $(B)/fraudd              ## quality on the handbook's stream: DATA=FILE [QUALITY="--seeds 1 --peers"]
	@tests/bench/quality.sh "$(DATA)" $(QUALITY)
bench-memory: $(B)/fraudd               ## memory of training by length of history [MEMORY="--payments '2000000 10000000' --limit 8"]
	@tests/bench/train_memory.sh $(MEMORY)
bench-streams: $(B)/fraudd              ## quality on simulated streams beside trees [SEEDS="1 2 3"] [STREAMS="--work DIR"]
	@tests/bench/streams.sh --seeds "$(or $(SEEDS),1 2 3)" $(STREAMS)
bench-weekly: $(B)/fraudd               ## weekly updates beside full retraining: DATA=FILE WORK=DIR [WEEKLY="--seeds 1 --full-every 2"]
	@tests/bench/weekly.sh "$(DATA)" --work "$(WORK)" $(WEEKLY)
bench-drift: $(B)/fraudd                ## updates where a new fraud pattern sets in: [SEEDS="1 2 3"] [DRIFT="--full last --work DIR"]
	@tests/bench/drift.sh --seeds "$(or $(SEEDS),1)" $(DRIFT)
bench-gate: $(B)/tests/bench/bench_gate  ## wrong labels at the gate, with bench-weekly's models: DATA=FILE WORK=DIR [DAYS="72 156 7"]
	$(RUN) $< "$(DATA)" "$(WORK)/1" $(or $(DAYS),72 156 7)
bench-ablation: $(B)/fraudd $(B)/tests/bench/bench_fidelity  ## what each part of the network is worth: DATA=FILE [ABLATION="--only window-8"]
	@tests/bench/ablation.sh "$(DATA)" $(ABLATION)
bench-instructions: $(B)/tests/bench/bench_instructions  ## instructions of a step by part, counted by callgrind
	@tests/bench/step_instructions.sh
bench-queue: $(B)/tests/bench/bench_queue  ## 8 clients claim 100,000 alerts: the rate by tenth; none twice, none lost
	$(RUN) $< && $(RUN) $< 100000 20 && echo 'from the first index entry on:' && $(RUN) $< 100000 1 headless
bench-train: $(B)/fraudd $(B)/tests/bench/bench_train  ## training speed beside PyTorch's: DATA=FILE [TRAIN="--threads 1"]
	@tests/bench/train_speed.sh "$(DATA)" $(TRAIN)
bench-steps: $(B)/fraudd $(B)/tests/bench/bench_train $(B)/tests/bench/bench_model  ## one step beside trees and ONNX Runtime: DATA=FILE
	@tests/bench/step_peers.sh "$(DATA)" $(STEPS)
$(B)/tests/bench/kafka_times $(B)/tests/bench/decided_once: %: %.o $(SUPPORT) $(B)/libfraud.a
	$(call say,LD,$@)
	$(quiet)$(CXX) $(OPT_$(V)) $^ -o $@ -lcmocka $(LDLIBS_ALL)
bench-kafka: $(B)/fraudd $(B)/tests/bench/kafka_times  ## latency, throughput and idle CPU with a real Kafka and PostgreSQL
	tests/bench/kafka.sh
outages: $(B)/fraudd $(B)/tests/bench/decided_once  ## Kafka, PostgreSQL and the disk away under load: nothing lost, nothing doubled [OUTAGES="kafka-60 kafka-420 postgres-60 disk-full-60"]
	tests/bench/outages.sh $(OUTAGES)
bench-recovery: $(B)/fraudd $(B)/tests/bench/decided_once  ## from a start, or another's death, to decisions, by number of cards [CARDS="10000 100000 1000000"]
	tests/bench/recovery.sh $(CARDS)
# TSan runs unit tests only: it cannot follow the threads librdkafka makes.
asan tsan coverage:                     ## unit tests of that build
	@$(MAKE) --no-print-directory V=$@ unit
fuzz: deps-fuzz                         ## SECONDS_EACH (60) seconds per fuzz target
	@$(MAKE) --no-print-directory V=fuzz CC=clang-14 CXX=clang++-14 fuzz-run
fuzz-run: $(FUZZ)
	@for f in $^; do c=build/fuzz/corpus/$$(basename $$f); mkdir -p $$c; \
	  $$f -max_total_time=$(or $(SECONDS_EACH),60) $$c tests/fuzz/corpus/$$(basename $$f) || exit 1; done

# gcc 12's -fanalyzer is not asked: it takes vectors, realloc'd tables and `goto out` for faults.
# clang-tidy runs Clang's static analyser.
lint: deps-lint                         ## format, layers, headers, static analysis
	@$(MAKE) --no-print-directory check-format check-layers check-headers
	cppcheck --quiet --error-exitcode=1 --enable=warning,portability,performance -j$$(nproc) \
	  --inline-suppr --std=c11 -I. $(LIB_SRC) daemon/main.c
	echo $(LIB_SRC) | tr ' ' '\n' | xargs -P$$(nproc) -n 4 sh -c \
	  'clang-tidy-14 --quiet --warnings-as-errors="*" "$$@" -- $(STD) $(INCLUDE) 2>/dev/null' tidy
check-layers:                           ## arrows between folders go one way
	tests/check_layers.sh
check-headers:                          ## every header compiles alone
	@set -e; for h in $(HEADERS); do $(CC) $(STD) $(INCLUDE) $(WARN) -Werror -fsyntax-only -x c $$h; done
check-format:                           ## the formatter would change nothing
	clang-format-14 --dry-run --Werror $(ALL_SRC)
format: deps-lint                       ## rewrite the sources with clang-format
	clang-format-14 -i $(ALL_SRC)

# Printed by the program from its option tables.
DATE := $(shell git log -1 --format=%cs 2>/dev/null || echo unknown)
$(B)/man/fraudd.1: $(B)/fraudd etc/man/pages.sh README.md etc/fraudd.conf
	@etc/man/pages.sh $(B)/fraudd $(@D) $(DATE)
$(B)/completion/fraudd.%: $(B)/fraudd etc/completion/make.sh
	@mkdir -p $(@D)
	@etc/completion/make.sh $* $(B)/fraudd >$@.new && mv $@.new $@
man: $(B)/man/fraudd.1                  ## man pages, in build/release/man
completion: $(B)/completion/fraudd.bash $(B)/completion/fraudd.zsh  ## bash and zsh completion, in build/release/completion

# UNITDIR: where systemd looks for units under PREFIX.  A settings file that is there stays.
install: all man completion             ## PREFIX (/usr/local), SYSCONFDIR (/etc), DESTDIR: program, units, settings, schemas, man pages, completion
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSCONFDIR)/fraudd \
	  $(DESTDIR)$(PREFIX)/share/fraudd/wire $(DESTDIR)$(PREFIX)/share/doc/fraudd
	install -m 755 $(B)/fraudd $(DESTDIR)$(PREFIX)/bin/fraudd
	for u in etc/systemd/fraudd-*; do \
	  sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' $$u \
	    >$(DESTDIR)$(UNITDIR)/$$(basename $$u) && chmod 644 $(DESTDIR)$(UNITDIR)/$$(basename $$u) || exit 1; done
	install -m 644 etc/wire/*.json etc/wire/*.avsc etc/wire/*.proto $(DESTDIR)$(PREFIX)/share/fraudd/wire
	install -m 644 etc/rates.conf etc/rules.conf etc/fraudd.conf $(DESTDIR)$(PREFIX)/share/fraudd
	install -m 644 etc/grafana/fraudd.json etc/prometheus/fraudd.rules.yml $(DESTDIR)$(PREFIX)/share/fraudd
	install -d $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man5 \
	  $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/$(ZSHDIR)
	install -m 644 $(B)/man/*.1 $(DESTDIR)$(MANDIR)/man1
	install -m 644 $(B)/man/*.5 $(DESTDIR)$(MANDIR)/man5
	install -m 644 $(B)/completion/fraudd.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/fraudd
	install -m 644 $(B)/completion/fraudd.zsh $(DESTDIR)$(PREFIX)/share/zsh/$(ZSHDIR)/_fraudd
	install -m 644 README.md etc/metrics.md $(DESTDIR)$(PREFIX)/share/doc/fraudd
	[ -e $(DESTDIR)$(SYSCONFDIR)/fraudd/fraudd.conf ] || \
	  install -m 644 etc/fraudd.conf $(DESTDIR)$(SYSCONFDIR)/fraudd/fraudd.conf

deb: deps-deb                           ## Debian package of HEAD's version, in build/deb
	@# version.o names the commit, and would not follow it
	@$(MAKE) --no-print-directory -j$$(nproc) -W daemon/version.c all $(B)/fraudd-stripped man completion
	@etc/debian/build.sh build/deb
deb-check: deps-deb                     ## builds the package of HEAD twice and compares; lintian
	@etc/deps.sh lintian python3-minimal
	@etc/debian/check.sh
deb-try:                                ## installs, runs, upgrades, removes, purges it, on a bare Debian made for it
	@tests/package.sh

clean:                                  ## removes build/
	rm -rf build

-include $(shell find $(B) -name '*.d' 2>/dev/null)
