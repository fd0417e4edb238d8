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

// A Folder is the folder of a dump.
type Folder struct {
	Dir string
	Map *align.Map // joins another program's names to stages; nil for a folder of the stages' own
}

// DumpSchedule returns a schedule for dumps, with as many layers and temperatures
// as every manifest and every file name in the folders ask for. It has at least
// the given number of layers, such as those of the model that computes what the
// dumps lack, and at least one, and [Temperatures].
func DumpSchedule(layers int, folders ...Folder) (*harness.Schedule, error) {
	layers = max(layers, 1)
	temperatures := slices.Clone(Temperatures)
	for _, f := range folders {
		man, err := dump.ReadManifest(f.Dir)
		switch {
		case err == nil:
			var c struct {
				Layers int `json:"n_layer"`
			}
			// A manifest of another engine may have no config: names tell it then.
			if json.Unmarshal(man.Model.Config, &c) == nil && c.Layers <= maxLayers {
				layers = max(layers, c.Layers)
			}
			temperatures = append(temperatures, man.Temperatures...)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
		list := dump.List
		if f.Map != nil {
			list = f.Map.List
		}
		listed, err := list(f.Dir)
		if err != nil {
			return nil, err
		}
		for _, stage := range listed.Stages() {
			s, _ := model.ParseStage(stage)
			if s.Layer < maxLayers {
				layers = max(layers, s.Layer+1)
			}
			if s.Temperature > 0 {
				temperatures = append(temperatures, s.Temperature)
			}
		}
	}
	slices.Sort(temperatures)
	return Schedule(layers, slices.Compact(temperatures)), nil
}

// maxLayers bounds what the names in a folder can ask a schedule to hold.
const maxLayers = 4096
