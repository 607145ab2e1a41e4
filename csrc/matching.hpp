// SSD's matching rule: which object each prior is to predict. lib/multibox/matcher.py states the rule.
#pragma once

#include "overlaps.hpp"

namespace kernels {

struct MatchRule {
    float threshold, negative_threshold, ignore_overlap;
    bool best_prior;  // whether every object takes its best prior
};

constexpr int64_t background_label = 0, ignore_label = -1;  // as in lib/structures.py

// Overlaps of all priors with one box.
template <Mode mode>
void fill_with(const Columns<float>& priors, const float* box, float* __restrict out) {
    const float *x1 = priors.x1.data(), *y1 = priors.y1.data(), *areas = priors.area.data();
    const float *x2 = priors.x2.data(), *y2 = priors.y2.data();
    const float bx1 = box[0], by1 = box[1], bx2 = box[2], by2 = box[3], area = area_of(bx1, by1, bx2, by2);
    for (int64_t p = 0, count = priors.size(); p < count; ++p)
        out[p] = overlap<mode>(x1[p], y1[p], x2[p], y2[p], areas[p], bx1, by1, bx2, by2, area, 1.0f);
}

// The lowest index of the greatest value.
inline int64_t first_greatest(const std::vector<float>& values) {
    constexpr int lanes = 16;
    const int64_t count = int64_t(values.size());
    float tops[lanes];
    for (float& top : tops) top = values[0];
    for (int64_t i = 0; i < count % lanes; ++i) tops[i] = std::max(tops[i], values[i]);
    for (int64_t i = count % lanes; i < count; i += lanes)
        for (int lane = 0; lane < lanes; ++lane) tops[lane] = std::max(tops[lane], values[i + lane]);
    return std::find(values.begin(), values.end(), greatest_of<lanes>(tops)) - values.begin();
}

// boxes (objects, 4) and labels (objects) of one image -> found (priors) labels, and owners (priors): the object,
// or -1
inline void match(const Columns<float>& priors, const float* boxes, const int64_t* labels, int64_t objects,
                  const MatchRule& rule, int64_t* found, int32_t* __restrict owners) {
    const int64_t count = priors.size();
    std::vector<float> overlaps(count), best(count, -1.0f);
    std::vector<char> is_ignored(count, 0);
    std::vector<int64_t> claims(objects, -1);
    std::fill_n(owners, count, -1);
    for (int64_t g = 0; g < objects; ++g) {
        if (labels[g] == background_label) continue;  // padding
        if (labels[g] < 0) {
            fill_with<Mode::iof>(priors, boxes + 4 * g, overlaps.data());
            for (int64_t p = 0; p < count; ++p) is_ignored[p] |= overlaps[p] > rule.ignore_overlap;
            continue;
        }
        fill_with<Mode::iou>(priors, boxes + 4 * g, overlaps.data());
        for (int64_t p = 0; p < count; ++p) {
            const bool is_better = overlaps[p] > best[p];  // the earlier object keeps a tie
            best[p] = is_better ? overlaps[p] : best[p];
            owners[p] = is_better ? int32_t(g) : owners[p];
        }
        if (rule.best_prior) claims[g] = first_greatest(overlaps);
    }
    for (int64_t p = 0; p < count; ++p) {
        const bool is_between = best[p] >= rule.negative_threshold && best[p] < rule.threshold;
        if (best[p] >= rule.threshold && owners[p] >= 0) {
            found[p] = labels[owners[p]];
        } else {
            found[p] = is_between || is_ignored[p] ? ignore_label : background_label;
            owners[p] = -1;
        }
    }
    for (int64_t g = 0; g < objects; ++g)  // the later object wins a prior that two claim
        if (claims[g] >= 0) found[claims[g]] = labels[g], owners[claims[g]] = int32_t(g);
}

// boxes (images, objects, 4), labels (images, objects) -> found (images, priors), matched (images, priors, 4),
// the object's box or the prior's own
inline void match_batch(const float* prior_boxes, int64_t count, const float* boxes, const int64_t* labels,
                        int64_t images, int64_t objects, const MatchRule& rule, int threads, int64_t* found,
                        float* matched) {
    const Columns<float> priors(prior_boxes, count);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t image = 0; image < images; ++image) {
        std::vector<int32_t> owners(count);
        const float* own = boxes + image * objects * 4;
        match(priors, own, labels + image * objects, objects, rule, found + image * count, owners.data());
        for (int64_t p = 0; p < count; ++p)
            std::copy_n(owners[p] < 0 ? prior_boxes + 4 * p : own + 4 * owners[p], 4,
                        matched + (image * count + p) * 4);
    }
}

}  // namespace kernels
