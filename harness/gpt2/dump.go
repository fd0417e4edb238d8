package gpt2

import (
	"fmt"
	"runtime"

	"checkpoint12/harness"
	"checkpoint12/model"
)

// EngineName is the engine in the manifest of a dump of the Go model.
const EngineName = "go"

// Manifest returns the manifest of a dump of the Go model's run, all but its files.
// It hashes the weights. caseName and prompt may be empty.
func Manifest(m *model.Model, run Run, caseName, prompt string) (harness.Manifest, error) {
	sum, err := m.WeightsSHA256()
	if err != nil {
		return harness.Manifest{}, fmt.Errorf("hash the weights: %w", err)
	}
	temperatures := run.Temperatures
	if temperatures == nil {
		temperatures = Temperatures
	}
	return harness.Manifest{
		Schema: 1,
		Model:  harness.ManifestModel{Name: m.Name(), Config: m.Config().JSON(), WeightsSHA256: sum},
		Case:   caseName, Prompt: prompt, Tokens: run.Tokens, New: run.New, Temperatures: temperatures,
		Engine: harness.Engine{Name: EngineName, Version: runtime.Version(), DType: "float32"},
	}, nil
}
