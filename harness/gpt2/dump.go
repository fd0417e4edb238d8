package gpt2

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/model"
)

// maxLayers bounds what the names in a folder can ask a schedule to hold.
const maxLayers = 4096

// DumpSchedule is the schedule for dumps whose model is not at hand: it has
// enough layers and temperatures for every manifest and every file name in the
// folders, and at least one layer and [Temperatures].
func DumpSchedule(dirs ...string) (*harness.Schedule, error) { return dumpSchedule(1, dirs) }

// ModelSchedule is DumpSchedule with the layers of a model too, for what has to
// be computed where the dumps lack it.
func ModelSchedule(m *model.Model, dirs ...string) (*harness.Schedule, error) {
	return dumpSchedule(m.Config().Layers, dirs)
}

func dumpSchedule(layers int, dirs []string) (*harness.Schedule, error) {
	temperatures := slices.Clone(Temperatures)
	var stages []string
	for _, dir := range dirs {
		man, err := dump.ReadManifest(dir)
		switch {
		case err == nil:
			var c struct {
				Layers int `json:"n_layer"`
			}
			// A manifest of another engine may have no config: names say it then.
			if json.Unmarshal(man.Model.Config, &c) == nil && c.Layers <= maxLayers {
				layers = max(layers, c.Layers)
			}
			temperatures = append(temperatures, man.Temperatures...)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
		names, err := dump.Stages(dir)
		if err != nil {
			return nil, err
		}
		stages = append(stages, names...)
	}
	return scheduleOf(layers, temperatures, stages), nil
}

// scheduleOf returns the schedule with at least so many layers and temperatures
// and, as far as they are credible, those of the stages.
func scheduleOf(layers int, temperatures []float64, stages []string) *harness.Schedule {
	for _, stage := range stages {
		s, _ := model.ParseStage(stage)
		if s.Layer < maxLayers {
			layers = max(layers, s.Layer+1)
		}
		if s.Temperature > 0 {
			temperatures = append(temperatures, s.Temperature)
		}
	}
	slices.Sort(temperatures)
	return Schedule(layers, slices.Compact(temperatures))
}

// EngineName is the engine in the manifest of a dump of the Go model.
const EngineName = "go"

// Manifest is the manifest of a dump of the Go model's run, all but its files.
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
