package verify

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/report"
	"checkpoint12/model"
)

// textOf returns the report as text, unwrapped.
func textOf(t testing.TB, r *Report) string {
	t.Helper()
	if err := harnesstest.CheckReport(r); err != nil {
		t.Error(err)
	}
	var text strings.Builder
	if err := r.WriteText(&text, TextOptions{Style: report.Style{Width: 1000}}); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// withTap returns a suite of synthetic-tiny with the one case that has every stage
// at every step, and without figures.
func withTap(t testing.TB, tap model.Tap) *Suite {
	t.Helper()
	hello.once.Do(func() { hello.suite, hello.err = openHello(t) })
	if hello.err != nil {
		t.Fatal(hello.err)
	}
	s, c := *hello.suite, *hello.suite.Cases[0]
	s.o.Tap, s.Cases, s.figures = tap, []*Case{&c}, nil
	c.outcome, c.Greedy = nil, nil
	return &s
}

// hello has its goldens read and compared with each other once for all tests. No
// test changes it.
var hello struct {
	once  sync.Once
	suite *Suite
	err   error
}

func openHello(t testing.TB) (*Suite, error) {
	s, err := open(gpt2test.Tiny(t), Options{Model: "synthetic-tiny", Goldens: gpt2test.Dir, Command: "go run ."})
	if err != nil {
		return nil, err
	}
	s.Cases = slices.DeleteFunc(s.Cases, func(c *Case) bool { return c.Name != "hello" })
	s.Cases[0].Goldens = harnesstest.Draw(s.Cases[0].Goldens, 1, 3) // float64 is one of them
	_, err = s.CheckCase(t.Context(), s.Cases[0], 1)
	return s, err
}

// plant returns a tap that plants faults.
func plant(m *model.Model, planted ...gpt2test.Fault) model.Tap {
	return (&gpt2.Override{Value: gpt2test.Planter(m, planted...).Value}).Tap
}

// full returns a finding in full, on lines of any length.
func full(f Finding) string {
	var text strings.Builder
	b := report.NewWriter(&text, report.Style{Width: 10_000})
	f.write(b)
	_ = b.Flush() // to memory
	return text.String()
}
