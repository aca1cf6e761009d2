/**
 * What deployments of a model share: its name without owner and precision. DeepSeek V3, V3.1 and R1 are one architecture, and
 * rows of one are listed under the others. Source: spec accuracy section 1.
 */
export function familyOf(model: string): string {
  const name = model.slice(model.lastIndexOf('/') + 1).replace(/(-(NVFP4|FP4|FP8|BF16|INT4|Instruct))+$/i, '');
  return /^DeepSeek-(V3|V3\.1|R1)(-\d{4})?$/.test(name) ? 'DeepSeek-R1' : name;
}
