package pictures

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/harness/report/page"
)

// errorFrom returns the error of got against zeros, with a bound of 1.
func errorFrom(names string, shape []int, got []float32) *errorOf {
	return &errorOf{
		axes: axes{shape: shape, axes: strings.Fields(names)}, got: harness.Tensor{Shape: shape, F32: got},
		want: harness.Tensor{Shape: shape, F32: make([]float32, len(got))}, bound: func(int) float64 { return 1 },
	}
}

// dots returns the levels of a panel.
func dots(t rapid.TB, p page.Panel) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(string(p.Dots))
	if err != nil || len(b) != p.Rows*p.Cols {
		t.Fatalf("%d dots of %d by %d, %v", len(b), p.Rows, p.Cols, err)
	}
	return b
}

// However large a tensor is, its picture is small, and the worst of its errors is in it.
func TestPicturesShowTheWorst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		axes := rapid.SampledFrom([]string{"T C", "B T C", "B H T D", "B H T S", "B V", "V"}).Draw(t, "axes")
		var shape []int
		for range strings.Fields(axes) {
			shape = append(shape, rapid.OneOf(rapid.IntRange(1, 9), rapid.SampledFrom([]int{17, 80, 333})).Draw(t, "n"))
		}
		n, _ := shapes.Size(shape)
		if n > 200_000 {
			t.Skip()
		}
		got := make([]float32, n)
		lead, _ := shapes.Size(shape[:max(0, len(shape)-2)])
		at := rapid.IntRange(0, n/lead*min(lead, maxPanels)-1).Draw(t, "at") // in a panel that is shown
		got[at] = 1000
		e := errorFrom(axes, shape, got)
		p := e.picture("zeros")
		total, wrong := 0, 0
		for _, panel := range p.Panels {
			for _, level := range dots(t, panel) {
				total++
				if level == page.Level(1000) {
					wrong++
				} else if level != page.LevelExact && level != page.LevelBlank {
					t.Fatalf("level %d of no value", level)
				}
			}
		}
		if wrong != 1 || total > maxDots+maxPanels*maxHigh {
			t.Fatalf("%v: %d dots of %d are wrong", shape, wrong, total)
		}
		if p.Counts[page.Bin(1000)] != 1 || p.Counts[0] != n-1 {
			t.Fatalf("%v: counts %v", shape, p.Counts)
		}
		if width := shape[len(shape)-1]; p.Values.Head[p.Values.At] != itoa(at%width) || p.Values.Rows[0][1+p.Values.At] != "1000" {
			t.Fatalf("%v: around %d there is %v", shape, at, p.Values)
		}
	})
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

func TestPictureOfWhatIsNotFinite(t *testing.T) {
	inf, nan := float32(math.Inf(-1)), float32(math.NaN())
	for _, c := range []struct {
		reason    string
		got, want float32
		level     byte
	}{
		{"masked on both sides", inf, inf, page.LevelBlank},
		{"not masked", 0, inf, page.LevelNonfinite},
		{"masked where it is not", inf, 0, page.LevelNonfinite},
		{"NaN", nan, 0, page.LevelNonfinite},
		{"NaN at a mask", nan, inf, page.LevelNonfinite},
		{"the golden has none", 3, nan, page.LevelBlank},
		{"exact", 2, 2, page.LevelExact},
		{"off where nothing may be", 2, 1, page.LevelHigh},
	} {
		e := errorFrom("T S", []int{1, 1}, []float32{c.got})
		e.want.F32[0], e.bound = c.want, func(int) float64 { return 0 }
		p := e.picture("")
		if got := dots(t, p.Panels[0]); !slices.Equal(got, []byte{c.level}) {
			t.Errorf("%s: level %v, want %d", c.reason, got, c.level)
		}
		if _, err := json.Marshal(p); err != nil {
			t.Errorf("%s: %v", c.reason, err)
		}
	}
}

// A head that is wrong is one panel, a position one line, the tail of the channels one side.
func TestPicturesHaveShapes(t *testing.T) {
	got := make([]float32, 2*4*3*5)
	for i := range got {
		if i/15%4 == 2 {
			got[i] = 50
		}
	}
	p := errorFrom("B H T S", []int{2, 4, 3, 5}, got).picture("")
	var wrong []string
	for _, panel := range p.Panels {
		if d := dots(t, panel); d[0] != page.LevelExact {
			wrong = append(wrong, panel.Label)
			if len(d) != 15 {
				t.Errorf("a small head has %d dots", len(d))
			}
		}
	}
	if !slices.Equal(wrong, []string{"row 0, head 2", "row 1, head 2"}) || !slices.Equal(p.Axes, []string{"query", "key"}) {
		t.Errorf("wrong are %v of %v", wrong, p.Axes)
	}

	got = make([]float32, 3*640)
	for i := range got {
		if i%640 >= 320 && i/640 == 1 {
			got[i] = 50
		}
	}
	p = errorFrom("B T C", []int{1, 3, 640}, got).picture("")
	d := dots(t, p.Panels[0])
	for i, level := range d {
		if tail := i/64 == 1 && i%64 >= 32; (level != page.LevelExact) != tail {
			t.Fatalf("dot %d has level %d", i, level)
		}
	}

	// One long row is folded, as one token's logits are.
	if p = errorFrom("B V", []int{1, 50257}, make([]float32, 50257)).picture(""); p.Panels[0].Rows < 40 || !strings.Contains(p.Panels[0].Down, "folded") {
		t.Errorf("%d rows: %s", p.Panels[0].Rows, p.Panels[0].Down)
	}
}

// The points of a scatter are in it by their values, the worst among them.
func TestPoints(t *testing.T) {
	got := make([]float32, 100_000)
	for i := range got {
		got[i] = float32(i)
	}
	e := errorFrom("T C", []int{100, 1000}, slices.Clone(got))
	copy(e.want.F32, got)
	e.got.F32[12345] = 0
	p := e.picture("")
	b, err := base64.StdEncoding.DecodeString(string(p.Points))
	if err != nil || len(b) != 4*(evenPoints+1) {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	off := 0
	for ; len(b) > 0; b = b[4:] {
		if b[0] != b[2] || b[1] != b[3] {
			off++
			if want := float64(p.Low) + float64(int(b[0])|int(b[1])<<8)/65535*float64(p.High-p.Low); math.Abs(want-12345) > 2 {
				t.Errorf("the worst is at %v", want)
			}
		}
	}
	if off != 1 {
		t.Errorf("%d points are off the diagonal", off)
	}
}

// Axes that are merged into one are one, which has a name.
func TestMergedAxes(t *testing.T) {
	for _, c := range []struct {
		axes  string
		shape []int
		want  []string
	}{
		{"B T (H D)", []int{1, 4, 80}, []string{"position", "channel"}},
		{"B T (3 H D)", []int{1, 4, 240}, []string{"position", "channel"}},
		{"B H T S", []int{1, 4, 4, 4}, []string{"query", "key"}},
		{"B T C", []int{4, 80}, []string{"index", "index"}},
	} {
		j := &diagnose.Judged{Comparison: diagnose.Comparison{Cut: harness.Cut{}}}
		if got := axesOf(j, harness.Stage{Axes: c.axes}, harness.Place{}, c.shape).names(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.axes, got, c.want)
		}
	}
}
