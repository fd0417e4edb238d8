package selftest

import (
	"encoding/json"
	"math"
	"slices"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/selftest/unlisted"
)

// The JSON of a matrix is as its schema says, and with a key more, a key less or another type
// anywhere it is not.
func TestMatrixFollowsTheSchema(t *testing.T) {
	full := newMatrix("m")
	full.Verdict, full.DType, full.NotChecked, full.Wrong = harness.VerdictFail, "bf16", []string{"candle"}, []string{"erf"}
	full.Faults = []Row{{Fault: "gelu_erf", Kinds: []string{"mlp.act"}, Most: harness.Float(math.Inf(1)), MostAt: "mlp.act"}}
	full.Cuts = []CutRow{{Cut: "one by one", Silent: []string{"gelu_erf"}}}
	full.Clean = []CleanRow{{"candle", 2, 5, 0, 1}}
	full.Equivalents = []Equivalent{{Faults: []string{"a", "b"}, Kinds: []string{"ln_f"}, Times: 2}}
	full.Identities = full.Identities[:1]
	passed := newMatrix("m")
	passed.judge()
	beyond := &unlisted.Matrix{
		Models: []string{"m"}, Kinds: []unlisted.Row{{}}, Right: []unlisted.Clean{{}}, Open: []unlisted.Open{{False: []string{"x"}}}, Failed: []string{"x"},
	}
	for _, m := range []any{full, passed, beyond} {
		data, err := json.Marshal(m)
		if err == nil {
			err = harnesstest.CheckSelftest(data)
		}
		if err != nil {
			t.Errorf("%s: %v", data, err)
		}
	}
	for _, m := range []any{full, beyond} {
		data, _ := json.Marshal(m)
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatal(err)
		}
		n := 0
		refused := func(path string) {
			n++
			if data, err := json.Marshal(v); err != nil || harnesstest.CheckSelftest(data) == nil {
				t.Errorf("%s is as the schema says", path)
			}
		}
		optional := []string{"dtype", "most", "most_at"}
		var walk func(path string, v any)
		walk = func(path string, v any) {
			switch v := v.(type) {
			case map[string]any:
				v["surplus"] = 1
				refused(path + " with a key more")
				delete(v, "surplus")
				for k, old := range v {
					if delete(v, k); !slices.Contains(optional, k) {
						refused(path + " without " + k)
					}
					v[k] = map[string]any{"surplus": 1}
					refused(path + "." + k + " of another type")
					v[k] = old
					walk(path+"."+k, old)
				}
			case []any:
				for _, e := range v {
					walk(path+"[]", e)
				}
			}
		}
		walk("", v)
		if n < 40 {
			t.Errorf("only %d changes", n)
		}
	}
}
