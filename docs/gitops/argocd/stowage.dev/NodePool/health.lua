-- Health of an object of Stowage, as kstatus computes it: Argo CD does not read kstatus' conditions by itself.
-- Stalled and Reconciling are present only while True, and never both.
local function condition(type)
  for _, candidate in ipairs(obj.status.conditions or {}) do
    if candidate.type == type and candidate.status == "True" then
      return candidate
    end
  end
end

if obj.metadata.deletionTimestamp ~= nil then
  return {status = "Progressing", message = "Being deleted"}
end
-- The API server reads -1 as long as no controller has seen the object.
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "Waiting for the controller"}
end
local stalled = condition("Stalled")
if stalled ~= nil then
  return {status = "Degraded", message = stalled.message}
end
local reconciling = condition("Reconciling")
if reconciling ~= nil then
  return {status = "Progressing", message = reconciling.message}
end
local ready = condition("Ready")
if ready ~= nil then
  return {status = "Healthy", message = ready.message}
end
return {status = "Progressing", message = "Waiting to be ready"}
