// Package align reads another engine's tensor names and layouts as the schedule's.
package align
