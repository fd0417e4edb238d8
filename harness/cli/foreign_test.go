package cli

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/harnesstest"
)

// An engine's dump, heads last and with the lowest float32 at masked places, agrees
// with its own copy and with the golden, and the golden with it.
func TestCompareWithAForeignGolden(t *testing.T) {
	s := gpt2.Schedule(3, nil)
	golden := gpt2test.Golden(t, s, "synthetic-tiny/hello/float64")
	foreign := gpt2test.Foreign(t, s, golden, func(_ int, stage string, x harness.Tensor, size map[string]int) harness.Tensor {
		switch stage[strings.LastIndexByte(stage, '.')+1:] {
		case "scores":
			for i, v := range x.F32 {
				x.F32[i] = max(v, -math.MaxFloat32)
			}
		case "q", "k", "v":
			return harnesstest.Arrange(x, "B H T D", "B T H D", size)
		}
		return x
	})
	dir := t.TempDir()
	for _, name := range []string{"mine", "copy"} {
		if err := dump.Write(foreign, filepath.Join(dir, name), *golden.Manifest()); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dir, name, dump.ManifestFile)); err != nil {
			t.Fatal(err)
		}
	}
	mine, theirs := filepath.Join(dir, "mine"), golden.Name()
	for _, args := range [][]string{
		{"--golden", filepath.Join(dir, "copy"), "--candidate", mine},
		{"--golden", theirs, "--candidate", mine},
		{"--golden", mine, "--candidate", theirs, "--model", "synthetic-tiny"},
	} {
		var out, notes bytes.Buffer
		if status := Main(append([]string{"compare", "--require-all"}, args...), &out, &notes); status != 0 {
			t.Errorf("%q: exit status %d\n%.2000s", args, status, out.String())
		}
		if !strings.Contains(strings.Join(strings.Fields(notes.String()), " "), mine+": h.*.attn.q, h.*.attn.k, h.*.attn.v (90 tensors): axes B T H D put into the order B H T D") {
			t.Errorf("%q: no note of what was read otherwise:\n%s", args, notes.String())
		}
	}
}
