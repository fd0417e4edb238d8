package gpt2

import (
	"encoding/json"
	"errors"
	"io/fs"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/align"
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

// MappedSchedule is a schedule with as many layers and temperatures more as the
// names in the folder at dir, which a mapping joins to stages, ask for.
func MappedSchedule(s *harness.Schedule, m *align.Mapping, dir string) (*harness.Schedule, error) {
	names, err := align.MappedStages(dir, m)
	if err != nil {
		return nil, err
	}
	for _, st := range s.Stages() {
		names = append(names, st.Name)
	}
	return scheduleOf(1, []float64{}, names), nil
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
