package hub

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The variables that are read here are huggingface_hub's own:
// https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables

// CacheDir returns the cache of this machine's huggingface_hub: HF_HUB_CACHE, else hub
// in HF_HOME, else huggingface/hub in XDG_CACHE_HOME, else in ~/.cache. It returns
// "" where there is no home either.
func CacheDir() Cache {
	if _, dir := firstOf("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"); dir != "" {
		return Cache(filepath.Clean(expand(dir)))
	}
	return Cache(inHome("hub"))
}

// firstOf returns the first of the variables that is set, a current name before the
// older one.
func firstOf(names ...string) (name, value string) {
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return name, value
		}
	}
	return "", ""
}

// inHome returns the path of a name in the folder of all that huggingface_hub
// keeps, "" where there is none.
func inHome(name string) string {
	if dir := os.Getenv("HF_HOME"); dir != "" {
		return filepath.Join(expand(dir), name)
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(expand(dir), "huggingface", name)
	}
	dir, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, ".cache", "huggingface", name)
}

// expand replaces a leading ~ and $VARIABLES as huggingface_hub does.
func expand(path string) string {
	if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || os.IsPathSeparator(rest[0])) {
		if home, err := os.UserHomeDir(); err == nil {
			path = home + rest
		}
	}
	return os.Expand(path, func(name string) string {
		if value, ok := os.LookupEnv(name); ok {
			return value
		}
		return "${" + name + "}"
	})
}

// isTrue reports whether a switch is on, as huggingface_hub does.
func isTrue(name string) bool {
	return slices.Contains([]string{"1", "ON", "YES", "TRUE"}, strings.ToUpper(os.Getenv(name)))
}

// endpoint returns the hub's address: HF_ENDPOINT, else huggingface.co.
func endpoint() (*url.URL, error) {
	s := cmp.Or(os.Getenv("HF_ENDPOINT"), "https://huggingface.co")
	u, err := url.Parse(strings.TrimRight(s, "/"))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("HF_ENDPOINT is no address such as https://huggingface.co")
	}
	return u, nil
}

// token returns the user's access token: HF_TOKEN, else the one that `hf auth login`
// keeps in a file, else "". Errors never hold it.
func token() (string, error) {
	if isTrue("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
		return "", nil
	}
	from, value := firstOf("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
	if value == "" {
		from = expand(cmp.Or(os.Getenv("HF_TOKEN_PATH"), inHome("token")))
		data, err := os.ReadFile(from) // "" is no file
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("read the hub's access token: %w", err)
		}
		value = string(data)
	}
	value = strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(value))
	// It goes into a header, and an error about a header might show it.
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%s holds no access token: there is a blank or a special character in it", from)
	}
	return value, nil
}
