package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// The files that make a model, in a repository and in a folder alike. Weights are
// in one file, or in those which the index lists.
const (
	ConfigFile  = "config.json"
	WeightsFile = "model.safetensors"
	IndexFile   = "model.safetensors.index.json"

	// PickledFile holds weights as a Python program, which whoever made it can
	// let do anything. It is neither downloaded nor read.
	PickledFile = "pytorch_model.bin"
)

// Shards lists the weight files that an index, the content of IndexFile, names:
// each once, sorted. A name that leads out of the folder is an error.
func Shards(index []byte) ([]string, error) {
	var parsed struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(index, &parsed); err != nil {
		return nil, err
	}
	names := slices.Compact(slices.Sorted(maps.Values(parsed.WeightMap)))
	if len(names) == 0 {
		return nil, errors.New("weight_map lists no files")
	}
	for _, n := range names {
		if !isFolderName(n) {
			return nil, fmt.Errorf("%.80q is no file of this folder", n)
		}
		if filepath.Ext(n) != ".safetensors" {
			return nil, fmt.Errorf("%.80q is no safetensors file: other kinds of weights are not read", n)
		}
	}
	return names, nil
}

// WeightFiles lists the weight files of a model's folder, without looking
// whether those that an index names are there. The error for a folder
// that has only pickled weights says what to do.
func WeightFiles(dir string) ([]string, error) {
	index := filepath.Join(dir, IndexFile)
	if exists(filepath.Join(dir, WeightsFile)) {
		return []string{WeightsFile}, nil
	}
	data, err := os.ReadFile(index)
	if errors.Is(err, fs.ErrNotExist) {
		if exists(filepath.Join(dir, PickledFile)) {
			return nil, fmt.Errorf("%s: there are only pickled weights (%s), which are not read: use %s", dir, PickledFile, WeightsFile)
		}
		return nil, fmt.Errorf("%s: no %s in this folder", dir, WeightsFile)
	}
	if err != nil {
		return nil, fmt.Errorf("read weight index: %w", err)
	}
	names, err := Shards(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", index, err)
	}
	return names, nil
}

// Whole reports whether a folder has a config and all of its weights. In a cache
// they are links, which may lead nowhere.
func Whole(dir string) bool {
	if !exists(filepath.Join(dir, ConfigFile)) {
		return false
	}
	names, err := WeightFiles(dir)
	return err == nil && !slices.ContainsFunc(names, func(n string) bool { return !exists(filepath.Join(dir, n)) })
}

func exists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}
