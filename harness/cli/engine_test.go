package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/rounding"
	"checkpoint12/harness/npy"
	"checkpoint12/model/zoo"
)

// engineMain is the Go model as somebody else's engine, which verify --engine runs:
//
//	engine MODEL TOKENS OUT HOW... [on PROMPT]
//
// HOW is the name of a fault to plant, or one of the ways below; on PROMPT, the first of
// these only in the case with a prompt of that length.
func engineMain(args []string) error {
	fmt.Println("this goes nowhere")
	tokens, _, err := npy.Read(args[1], false)
	if err != nil {
		return err
	}
	m, err := zoo.Load(args[0])
	if err != nil {
		return err
	}
	defer m.Close()
	n, err := strconv.Atoi(os.Getenv("CHECKPOINT12_PROMPT"))
	if err != nil {
		return err
	}
	how := args[3:]
	if at := len(how) - 2; at >= 0 && how[at] == "on" {
		if strconv.Itoa(n) != how[at+1] {
			how = how[1:]
		}
		how = how[:len(how)-2]
	}
	mask, _, err := npy.Read(os.Getenv("CHECKPOINT12_MASK"), false)
	if err != nil {
		return err
	}
	run := gpt2.Run{Temperatures: gpt2.Temperatures}
	unmasked, hooked := false, false
	loaded := map[string][]float32{} // weights that it says it has, in the place of the model's
	var planted []gpt2test.Fault
	for _, h := range how {
		switch h {
		case "cannot":
			os.Exit(77)
		case "fails":
			return fmt.Errorf("first line\nno memory \x1b[31m for %s", args[2])
		case "commands":
			return errors.New("first\n::error::mine\n##[error]mine\nlast")
		case "silent":
			return nil
		case "hangs":
			time.Sleep(time.Hour)
		case "unmasked":
			unmasked = true
		case "first-row":
			tokens.Shape[0] = 1
		case "one-by-one":
			n = 1
		case "one-pass":
			n = tokens.Shape[1] - 1
		case "undecided": // in two threads of which the first to come wins, say
			run.Match = func(_ int, stage string) bool { return stage == "ln_f" || stage == "logits_last" }
			if strings.HasSuffix(args[2], "again") {
				planted = append(planted, gpt2test.Named("last-but-one logits"))
			}
		case "bf16-weights":
			for name := range m.Config().Weights() {
				if x, _, ok := m.Weight(name); ok {
					loaded[name] = rounding.BFloat16.Of(x)
				}
			}
		case "zero-bias":
			const name = "h.1.attn.c_attn.bias"
			x, _, _ := m.Weight(name)
			loaded[name] = make([]float32, len(x))
		case "hooked":
			hooked = true
			run.Match = func(_ int, stage string) bool {
				return gpt2test.IsModule(stage) && !strings.Contains(stage, "_t") && stage != "logits_last"
			}
		case "logits":
			run.Match = func(_ int, stage string) bool { return stage == "logits_last" }
		default:
			planted = append(planted, gpt2test.Named(h))
		}
	}
	width := tokens.Shape[1]
	for b := range tokens.Shape[0] {
		var row []int
		for _, id := range tokens.I64[b*width:][:width] {
			row = append(row, int(id))
		}
		run.Tokens, run.Feed = append(run.Tokens, row[:n]), append(run.Feed, row[n:width-1])
		var ones []int
		for _, one := range mask.I64[b*width:][:n] {
			ones = append(ones, int(one))
		}
		if run.Mask = append(run.Mask, ones); unmasked {
			run.Mask = nil
		}
	}
	run.New = width - n
	given := m
	if m, err = m.With(loaded); err != nil {
		return err
	}
	run.Tap = (&gpt2.Override{Value: gpt2test.Planter(m, planted...).Value}).Tap
	rec, err := gpt2.Record(context.Background(), m, run)
	if err != nil {
		return err
	}
	man, err := gpt2.Manifest(m, run, "", "")
	if err == nil {
		err = dump.Write(rec, args[2], man)
	}
	if err == nil && len(loaded) > 0 {
		err = os.Mkdir(filepath.Join(args[2], dump.WeightsFolder), 0o777)
	}
	for name, x := range loaded {
		if err == nil {
			_, shape, _ := given.Weight(name)
			err = writeTensor(filepath.Join(args[2], dump.WeightsFolder, name+".npy"), harness.Tensor{Shape: shape, F32: x})
		}
	}
	if err != nil {
		return err
	}
	if hooked { // names are those that hooks in transformers see
		files, err := filepath.Glob(filepath.Join(args[2], "step_*", "*.npy"))
		for _, from := range files {
			name := strings.Replace("transformer."+filepath.Base(from), "transformer.logits", "lm_head", 1)
			err = errors.Join(err, os.Rename(from, filepath.Join(filepath.Dir(from), name)))
		}
		if err != nil {
			return err
		}
	}
	return os.Remove(filepath.Join(args[2], dump.ManifestFile))
}
