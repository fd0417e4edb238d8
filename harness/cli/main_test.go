package cli

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/model"
	"checkpoint12/model/modeltest"
)

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){
		"checkpoint12": func() {
			debug.SetGCPercent(harnesstest.GCPercent)
			inAWhile = time.Hour
			status := Main(os.Args[1:], os.Stdout, os.Stderr)
			if path := os.Getenv("CHECKPOINT12_TEST_PEAK"); path != "" {
				memory, _ := os.ReadFile("/proc/self/status")
				os.WriteFile(path, memory, 0o666)
			}
			os.Exit(status)
		},
		"micromodel": helper(microModel),
		"plant":      helper(plant),
		"widen":      helper(widen),
		"hardlink":   helper(func(args []string) error { return os.Link(args[0], args[1]) }),
		"copytree":   helper(func(args []string) error { return os.CopyFS(args[1], os.DirFS(args[0])) }),
		"jsonshape":  helper(jsonShape),
		"byengine":   helper(byEngine),
		"engine":     helper(engineMain),
		"npz":        helper(pack),
	})
}

// tests run as outside of GitHub Actions, for no one's terminal.
type tests struct{ *testing.M }

func (t tests) Run() int {
	for _, name := range []string{"GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "COLUMNS"} {
		os.Unsetenv(name)
	}
	return t.M.Run()
}

// TestScripts runs the command line as a person would: each testdata/*.txtar is
// a session, with exit statuses, stdout and stderr asserted.
func TestScripts(t *testing.T) {
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Condition: func(cond string) (bool, error) {
			if cond != "full" {
				return false, fmt.Errorf("no condition %q", cond)
			}
			return harnesstest.Full(), nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"exits": exits},
		Setup: func(e *testscript.Env) error {
			e.Setenv("GOLDENS", filepath.Join(repository, "goldens"))
			e.Setenv("CHECKPOINT12_MODELS", filepath.Join(e.WorkDir, "models"))
			e.Setenv("HF_HOME", filepath.Join(e.WorkDir, "hub"))
			e.Setenv("HF_HUB_CACHE", "")
			return nil
		},
	})
}

// exits runs a command and asserts its very exit status, which "! exec" does
// not: exits STATUS COMMAND…
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND...")
	}
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%s: %v", args[1], err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("%s: exit status %d, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

// helper makes a command of the scripts out of a function.
func helper(f func(args []string) error) func() {
	return func() {
		if err := f(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// microModel writes a model of two layers, 8 wide, with 12 positions and 50
// tokens unless told otherwise: micromodel DIR [POSITIONS VOCABULARY [SEED]].
func microModel(args []string) error {
	seed := uint64(1)
	cfg := model.Config{Vocab: 50, Positions: 12, Embd: 8, Layers: 2, Heads: 2, Inner: 32, Eps: 1e-5}
	if len(args) >= 3 {
		cfg.Positions, _ = strconv.Atoi(args[1])
		cfg.Vocab, _ = strconv.Atoi(args[2])
	}
	if len(args) == 4 {
		seed, _ = strconv.ParseUint(args[3], 10, 64)
	}
	return modeltest.Write(args[0], cfg, seed)
}

// plant overwrites one element of a float32 .npy file and forgets the manifest
// beside it, which would no longer be true: plant DIR FILE INDEX VALUE.
func plant(args []string) error {
	path := filepath.Join(args[0], args[1])
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	index, err1 := strconv.Atoi(args[2])
	value, err2 := strconv.ParseFloat(args[3], 32)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	payload := data[10+int(binary.LittleEndian.Uint16(data[8:])):]
	binary.LittleEndian.PutUint32(payload[4*index:], math.Float32bits(float32(value)))
	if err := os.WriteFile(path, data, 0o666); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(args[0], "manifest.json"))
}

// byEngine makes the Go model's dump in a folder one of the engine that the folder is
// named after: byengine DIR.
func byEngine(args []string) error {
	path := filepath.Join(args[0], "manifest.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	name := strconv.Quote(filepath.Base(args[0]))
	return os.WriteFile(path, bytes.Replace(data, []byte(`"name": "go"`), []byte(`"name": `+name), 1), 0o666)
}

// widen makes a float32 .npy file one of float64, as numpy's defaults would
// have it: widen FILE.
func widen(args []string) error {
	data, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	begin := 10 + int(binary.LittleEndian.Uint16(data[8:]))
	out := bytes.Replace(data[:begin:begin], []byte("<f4"), []byte("<f8"), 1)
	for rest := data[begin:]; len(rest) > 0; rest = rest[4:] {
		v := math.Float32frombits(binary.LittleEndian.Uint32(rest))
		out = binary.LittleEndian.AppendUint64(out, math.Float64bits(float64(v)))
	}
	return os.WriteFile(args[0], out, 0o666)
}

// pack puts what is in a folder into an archive: npz DIR FILE.
func pack(args []string) error {
	f, err := os.Create(args[1])
	if err != nil {
		return err
	}
	z := zip.NewWriter(f)
	return errors.Join(z.AddFS(os.DirFS(args[0])), z.Close(), f.Close())
}

// jsonShape reads one JSON value from a file, nothing after it, and prints each
// scalar in it as path=value, sorted by the order of keys: jsonshape FILE. A report of compare
// or verify is as its schema says.
func jsonShape(args []string) error {
	data, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return fmt.Errorf("%s: not one JSON value: %w", args[0], err)
	}
	if report, _ := v.(map[string]any); report["first_divergence"] != nil || report["checkpoints"] != nil || report["missing"] != nil {
		if err := harnesstest.CheckSchema(data); err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
	}
	flatten("", v)
	return nil
}

func flatten(path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			flatten(path+"."+k, e)
		}
	case []any:
		fmt.Printf("%s.length=%d\n", path, len(v))
		for i, e := range v {
			flatten(fmt.Sprintf("%s[%d]", path, i), e)
		}
	default:
		out, _ := json.Marshal(v)
		fmt.Printf("%s=%s\n", path, out)
	}
}
