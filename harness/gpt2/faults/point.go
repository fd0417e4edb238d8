package faults

// points are the points at which a stage has the output that the fault would give it.
var points = map[string]string{
	"ln_gain_dropped":          "before its gain",
	"ln_bias_dropped":          "before its bias is added",
	"final_norm_missing":       "before the norm",
	"pos_not_added":            "before the positions are added",
	"bias_dropped":             "before its bias is added",
	"scale_missing":            "before the scale",
	"mask_missing":             "before the mask",
	"mask_leaking":             "before masked places are -inf",
	"scale_and_mask_missing":   "before scale and mask",
	"padding_seen":             "before the mask of padding",
	"padding_masked_at_prompt": "before the mask of padding",
	"heads_not_merged":         "before the heads are merged",
	"resid_missing":            "before the stream is added",
}

// Point returns the point at which a correct engine has a stage with the output of a fault:
// "before the mask"; "" if there is none.
func Point(fault string) string { return points[fault] }
