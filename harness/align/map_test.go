package align

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/npy"
)

const goodMap = `{ "schema": 1, "name": "mine", "notes": ["say this"],
  "files": "run/{step}.{name}.npy", "first_step": 1, "tokens": "run/ids.npy", "prefixes": ["net."],
  "stages": [
    {"from": "layer{N}.q", "to": "h.{N}.q", "axes": "B T H D"},
    {"from": "layer{N}.other_q", "to": "h.{N}.q"},
    {"from": "stack{N}", "to": ["h.{N}.q", "h.{N}.k"], "axes": "2 B H T D", "split": "2"},
    {"from": "wide.{N}", "to": "h.{N}.k", "axes": ["B T H D", "T H D"], "pad": "T"},
    {"from": "head", "to": ["x", "last"]} ],
  "ignore": [ {"from": "*.aux", "why": "it is not ours"} ] }`

func TestParseMapRefuses(t *testing.T) {
	if _, err := ParseMap([]byte(goodMap)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ old, new, want string }{
		{`"schema": 1`, `"schema": 2`, `"schema" is not 1`},
		{`"schema": 1, `, ``, `"schema" is not 1`},
		{`"name": "mine"`, `"name": ""`, "name is missing"},
		{`"name": "mine"`, `"name": "a", "name": "b"`, `key "name" is there twice`},
		{`"prefixes"`, `"prefix"`, `unknown field "prefix"`},
		{`"prefixes": ["net."]`, `"prefixes": [""]`, "one is empty"},
		{`"first_step": 1`, `"first_step": -1`, "first_step"},
		{`"first_step": 1`, `"first_step": "1"`, "cannot unmarshal"},
		{`run/{step}.{name}.npy`, `run/{step}.npy`, "want a path"},
		{`run/{step}.{name}.npy`, `{step}/{step}/{name}.npy`, "want a path"},
		{`run/{step}.{name}.npy`, `/{step}/{name}.npy`, "want a path"},
		{`run/{step}.{name}.npy`, `{step}/{name}.bin`, "want a path"},
		{`run/ids.npy`, `../ids.npy`, "below the dump"},
		{`"from": "layer{N}.q"`, `"from": ""`, "from: want"},
		{`"from": "layer{N}.q"`, `"from": "a{N}.{N}"`, "from: want"},
		{`"from": "layer{N}.q"`, `"from": "layer.q"`, "from has none"},
		{`"to": "h.{N}.q", "axes"`, `"to": [], "axes"`, "names no stage"},
		{`"to": "h.{N}.q", "axes"`, `"to": "h/{N}", "axes"`, "cannot be a stage's name"},
		{`"axes": "B T H D"`, `"axes": "B T B D"`, "is given twice"},
		{`"axes": "B T H D"`, `"axes": 4`, "cannot unmarshal"},
		{`"split": "2"`, `"split": "3"`, "is not an axis by itself"},
		{`"2 B H T D", "split": "2"`, `"2 B H T D", "split": "H"`, "not the number of stages"},
		{`"pad": "T"`, `"pad": "S"`, "is not an axis by itself"},
		{`{"from": "head", "to": ["x", "last"]}`, `{"from": "head", "to": "x", "pad": "T"}`, "need axes"},
		{`"why": "it is not ours"`, `"why": ""`, `without a "why"`},
		{`"from": "*.aux"`, `"from": "[a"`, "ignore"},
		{goodMap, goodMap + " {}", "after top-level value"},
		{goodMap, `[]`, "cannot unmarshal"},
		{goodMap, `{"schema": 1, "name": "m", "stages": []}`, "stages is empty"},
	} {
		bad := strings.Replace(goodMap, tt.old, tt.new, 1)
		if bad == goodMap {
			t.Fatalf("%q is not in the map", tt.old)
		}
		if _, err := ParseMap([]byte(bad)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("with %q: %v, want %q", tt.new, err, tt.want)
		}
	}
}

// put writes an array of values, or of ids.
func put(t *testing.T, path string, x harness.Tensor) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := npy.Write(f, x); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func mapped(t harnesstest.Tester) *harness.Schedule {
	t.Helper()
	bound := harness.Tolerance{Abs: 1e-5, Reason: "test"}
	s, err := harness.NewSchedule([]harness.Stage{
		{Name: "h.0.q", Tolerance: bound, Axes: "B H T D"},
		{Name: "h.0.k", Tolerance: bound, Axes: "B H T D"},
		{Name: "h.1.q", Tolerance: bound, Axes: "B H T D"},
		{Name: "h.1.k", Tolerance: bound, Axes: "B H T D"},
		{Name: "x", Tolerance: bound, Axes: "B T V"},
		{Name: "last", Tolerance: bound, Axes: "B V"},
		{Name: "own", Tolerance: bound},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMappedDump(t *testing.T) {
	dir, s := t.TempDir(), mapped(t)
	at := func(T int) Sizes { return Sizes{"B": 1, "H": 2, "D": 3, "T": T} }
	in := func(path string, x harness.Tensor) harness.Tensor {
		put(t, filepath.Join(dir, "run", path), x)
		return x
	}
	q0, q1, k0, k1, last := random(1, 1, 2, 4, 3), random(2, 1, 2, 4, 3), random(3, 1, 2, 4, 3), random(4, 1, 2, 4, 3), random(5, 1, 5)
	stack := harnesstest.Arrange(q1, "B H T D", "B H T D", at(4))
	in("1.net.layer0.q.npy", harnesstest.Arrange(q0, "B H T D", "B T H D", at(4)))
	in("1.layer0.other_q.npy", q0) // the rule before it is preferred
	in("1.stack1.npy", harness.Tensor{Shape: []int{2, 1, 2, 4, 3}, F32: slices.Concat(stack.F32, k1.F32)})
	wide := harnesstest.Arrange(k0, "B H T D", "B T H D", at(4))
	in("1.wide.00.npy", harness.Tensor{Shape: []int{6, 2, 3}, F32: append(wide.F32, make([]float32, 12)...)})
	x := in("1.head.npy", random(6, 1, 4, 5))
	in("2.head.npy", last) // [1,5] at a step of one position: both
	own := in("1.net.own.npy", harnesstest.Vec(1))
	in("1.some.aux.npy", harnesstest.Vec(1))
	in("1.block3.thing.npy", harnesstest.Vec(1))
	in("1.block4.thing.npy", harnesstest.Vec(1))
	in("notes.txt.npy", harnesstest.Vec(1))
	put(t, filepath.Join(dir, "run", "ids.npy"), harness.Tensor{Shape: []int{1, 6}, I64: []int64{1, 2, 3, 4, 5, 6}})

	m, err := ParseMap([]byte(goodMap))
	if err != nil {
		t.Fatal(err)
	}
	d, hints, notes, err := m.Open(dir, s)
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewView(s, d, ViewOptions{Hints: hints, Batch: "B", Sizes: func(step int) Sizes {
		return map[int]Sizes{0: at(4), 1: at(1)}[step]
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := v.Tokens(); len(got) != 1 || !slices.Equal(got[0], []int{1, 2, 3, 4, 5, 6}) {
		t.Errorf("tokens %v", got)
	}
	want := map[harness.Place]harness.Tensor{
		{Step: 0, Stage: "h.0.q"}: q0, {Step: 0, Stage: "h.1.q"}: q1, {Step: 0, Stage: "h.0.k"}: k0, {Step: 0, Stage: "h.1.k"}: k1, {Step: 0, Stage: "x"}: x, {Step: 0, Stage: "own"}: own,
		{Step: 1, Stage: "x"}: {Shape: []int{1, 1, 5}, F32: last.F32}, {Step: 1, Stage: "last"}: last,
	}
	n := 0
	for _, step := range v.Steps() {
		for _, stage := range v.Stages(step) {
			n++
			p := harness.Place{Step: step, Stage: stage}
			got, err := v.Tensor(step, stage)
			if err != nil || !harnesstest.SameTensor(got, want[p]) {
				t.Errorf("%s: %v of shape %v, %v; want %v", p, got.F32, got.Shape, err, want[p])
			}
		}
	}
	if n != len(want) {
		t.Errorf("%d tensors, want %d", n, len(want))
	}
	if _, err := v.Tensor(0, "last"); err == nil {
		t.Error("the last position of a prompt of four: there")
	}
	all := strings.Join(append(notes, v.Notes()...), "\n")
	for _, part := range []string{
		"1 file not used, such as run/1.layer0.other_q.npy: the same stages",
		"files that the map mine does not use: 1 such as run/1.some.aux.npy (it is not ours)",
		"run/1.block3.thing.npy and 1 like it: neither a name in the map mine nor a stage",
		": not part of a dump, ignored: run/notes.txt.npy",
		"h.*.q, h.*.k (2 tensors): axes B T H D put into the order B H T D",
		"h.*.k (1 tensor): axis T is longer than it should be: the rest was cut off",
	} {
		if !strings.Contains(all, part) {
			t.Errorf("notes lack %q:\n%s", part, all)
		}
	}
}

func TestMappedDumpRefuses(t *testing.T) {
	s := mapped(t)
	m, err := ParseMap([]byte(goodMap))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put(t, filepath.Join(dir, "run", "1.layer0.q.npy"), random(1, 1, 2, 4, 3))
	put(t, filepath.Join(dir, "run", "1.net.layer0.q.npy"), random(1, 1, 2, 4, 3))
	if _, _, _, err := m.Open(dir, s); err == nil || !strings.Contains(err.Error(), "the same step and stage as") {
		t.Errorf("a stage twice by one rule: %v", err)
	}
	own := filepath.Join(t.TempDir(), "own")
	src := harnesstest.Source(s, "own", [][]int{{7, 1}}, harnesstest.Steps{0: {"h.0.q": random(1, 1, 2, 4, 3)}})
	if err := dump.Write(src, own, harnesstest.TestManifest(1)); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := m.Open(own, s); err == nil || !strings.Contains(err.Error(), "leave out the map mine") {
		t.Errorf("a folder with a manifest: %v", err)
	}
	m, err = ParseMap([]byte(strings.Replace(goodMap, `"to": "h.{N}.q", "axes"`, `"to": "h.{N}.qq", "axes"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := m.Open(dir, s); err == nil || !strings.Contains(err.Error(), `no stage is called "h.{N}.qq"; did you mean "h.0.q"?`) {
		t.Errorf("a stage that is none: %v", err)
	}
}

// A tensor that is not as the map says is left to be judged, and a note says so.
func TestMappedDumpOfAnotherShape(t *testing.T) {
	s, dir := mapped(t), t.TempDir()
	m, err := ParseMap([]byte(goodMap))
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "run", "1.layer0.q.npy"), random(1, 1, 2, 4, 3))
	d, hints, _, err := m.Open(dir, s)
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewView(s, d, ViewOptions{Hints: hints, Batch: "B", Sizes: func(int) Sizes { return Sizes{"B": 1, "H": 2, "D": 3, "T": 4} }})
	if err != nil {
		t.Fatal(err)
	}
	if shape, _ := v.Shape(0, "h.0.q"); !slices.Equal(shape, []int{1, 2, 4, 3}) {
		t.Errorf("shape %v", shape)
	}
	if n := v.Notes(); len(n) != 1 || !strings.Contains(n[0], "of a shape that is not B T H D or (B T) H D as the map has it: such as [1 2 4 3] at step_00/h.0.q") {
		t.Errorf("notes %q", n)
	}
}

// A tensor that may be either of two stages is shown as the first if it is neither.
func TestMappedDumpOfNoStagesShape(t *testing.T) {
	s, dir := mapped(t), t.TempDir()
	m, err := ParseMap([]byte(`{"schema": 1, "name": "mine", "stages": [{"from": "head", "to": ["x", "last"]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	shapes := [][]int{{1, 4, 6}, {1, 5}, {1, 5, 4, 1, 2}, {7}}
	for step, shape := range shapes {
		put(t, filepath.Join(dir, fmt.Sprintf("step_%02d", step), "head.npy"), random(1, shape...))
	}
	d, hints, _, err := m.Open(dir, s)
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewView(s, d, ViewOptions{Hints: hints, Batch: "B", Sizes: func(int) Sizes { return Sizes{"B": 1, "T": 4, "V": 5} }})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]harness.Place{{Step: 0, Stage: "x"}, {Step: 2, Stage: "x"}, {Step: 3, Stage: "x"}}, v.Unusable()); diff != "" {
		t.Errorf("unusable (-want +got):\n%s", diff)
	}
	for step, want := range shapes {
		x, _ := v.Shape(step, "x")
		last, _ := v.Shape(step, "last")
		if step == 1 {
			x, last = last, x
		}
		if !slices.Equal(x, want) || last != nil {
			t.Errorf("step %d: shape %v, and %v of the other stage", step, x, last)
		}
	}
}

func FuzzParseMap(f *testing.F) {
	f.Add([]byte(goodMap))
	for _, seed := range []string{
		`{}`, `{"schema":1,"name":"a","stages":[{"from":"{N}","to":"h.{N}"}]}`,
		`{"schema":1,"name":"a","files":"{name}.npy","stages":[{"from":"a","to":["b","c"],"axes":"2 T","split":"2"}]}`,
	} {
		f.Add([]byte(seed))
	}
	s := mapped(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMap(b)
		if err != nil {
			return
		}
		// What was taken can be used.
		m.Check(s)
		for _, path := range []string{"step_00/a.npy", "x/0.layer0.q.npy", "tokens.npy"} {
			name, step, ok := m.split(path)
			if ok && (name == "" || step < 0) {
				t.Errorf("%q is name %q of step %d", path, name, step)
			}
			found, ignored := m.find(name, names.Valid)
			if len(found) > 0 && ignored >= 0 {
				t.Errorf("%q is found and ignored", name)
			}
			for _, target := range found {
				if !names.Valid(target.stage) {
					t.Errorf("%q becomes %q", name, target.stage)
				}
			}
		}
	})
}
