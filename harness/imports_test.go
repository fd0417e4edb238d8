package harness_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// order lists the module's packages, each of which imports only packages that
// come before it. Packages in one string do not import each other.
var order = []string{
	"model/atomicfile model/parallel model/strictjson model/vocab model/internal/kernel",
	"model/hub model/tokenizer model/internal/safetensors",
	"model",
	"model/sample model/synthetic",
	"model/zoo",
	"harness/internal/names harness/internal/shapes harness/internal/words",
	"harness",
	"harness/npy",
	"harness/dump harness/replay harness/report",
	"harness/align",
	"harness/gpt2",
	"harness/gpt2/maps harness/gpt2/faults harness/verify/figures",
	"harness/diagnose",
	"harness/verify harness/selftest",
	"harness/cli",
	".",
}

// forTests are packages that only tests import.
var forTests = strings.Fields("model/modeltest model/hub/hubtest harness/internal/harnesstest harness/internal/replaytest harness/internal/gpt2test")

func TestImportsRunOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}: {{join .Imports " "}}`, "checkpoint12/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	place := map[string]int{}
	for i, group := range order {
		for _, p := range strings.Fields(group) {
			place[strings.TrimSuffix("checkpoint12/"+p, "/.")] = i
		}
	}
	listed := 0
	for line := range strings.Lines(string(out)) {
		name, imports, _ := strings.Cut(strings.TrimSpace(line), ":")
		if slices.Contains(forTests, strings.TrimPrefix(name, "checkpoint12/")) {
			continue
		}
		at, ok := place[name]
		if !ok {
			t.Errorf("%s has no place in the order", name)
			continue
		}
		listed++
		for _, p := range strings.Fields(imports) {
			if !strings.HasPrefix(p, "checkpoint12") {
				continue
			}
			if i, ok := place[p]; !ok || i >= at {
				t.Errorf("%s imports %s, which does not come before it", name, p)
			}
		}
	}
	if all := strings.Fields(strings.Join(order, " ")); listed != len(all) {
		t.Errorf("%d packages listed, %d in the order", listed, len(all))
	}
}
