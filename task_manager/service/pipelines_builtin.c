/* pipelines_builtin.c - the pipelines that ship, as anybody could write them. */
#include "service_internal.h"

static const char repository_to_parquet[] =
    "{\"name\": \"repository_to_parquet\","
    " \"title\": \"A code repository: downloaded, uploaded to blob storage, as Parquet\","
    " \"input\": {"
    "  \"repository\": {\"type\": \"string\", \"required\": true,"
    "                   \"title\": \"https://host/owner/name\"},"
    "  \"token\": {\"type\": \"string\", \"secret\": true,"
    "              \"title\": \"for a repository that is not public\"},"
    "  \"container\": {\"type\": \"string\","
    "                  \"title\": \"of the upload; made from the name without it\"},"
    "  \"prune\": {\"type\": \"boolean\", \"default\": false,"
    "              \"title\": \"delete blobs that the repository no longer has\"},"
    "  \"single_parquet\": {\"type\": \"boolean\", \"default\": true,"
    "                       \"title\": \"one set of all files, or one for each file\"}},"
    " \"steps\": ["
    "  {\"name\": \"download\", \"type\": \"repo_download\","
    "   \"params\": {\"repository\": \"${input.repository}\", \"token\": \"${input.token}\"}},"
    "  {\"name\": \"upload\", \"type\": \"blob_upload\","
    "   \"params\": {\"repo_path\": \"${steps.download.output.key}\","
    "               \"container\": \"${input.container}\","
    "               \"commit\": \"${steps.download.output.commit}\","
    "               \"prune\": \"${input.prune}\"}},"
    "  {\"name\": \"export\", \"type\": \"parquet_export\","
    "   \"params\": {\"container\": \"${steps.upload.output.container_name}\","
    "               \"single_parquet\": \"${input.single_parquet}\"}}]}";

const char *const pipelines_builtin[] = {repository_to_parquet, NULL};
